package cli

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/roam"
)

type calls struct {
	target
	ID string `arg:"" optional:"" help:"One call, by its id."`
}

// Run is kong's.
func (c *calls) Run(e *env) error {
	var all []office.OfficeCall
	if err := c.ask(e, "GET", "/calls", c.query(), nil, &all); err != nil {
		return err
	}
	if c.ID == "" {
		return e.show(all, func(t *tabwriter.Writer) { writeCalls(t, all, time.Now()) })
	}
	i := slices.IndexFunc(all, func(o office.OfficeCall) bool { return o.ID == c.ID })
	if i < 0 {
		return fmt.Errorf("call %s: there is none by that id", c.ID)
	}
	return e.show(all[i], func(t *tabwriter.Writer) { writeCall(t, all[i]) })
}

// writeCalls is a line a call; the office stands there when several answer.
func writeCalls(t *tabwriter.Writer, all []office.OfficeCall, now time.Time) {
	several := slices.ContainsFunc(all, func(c office.OfficeCall) bool { return c.Office != all[0].Office })
	row := func(of string, cells ...any) {
		if several {
			fmt.Fprint(t, of, "\t")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cells...)
	}
	row("OFFICE", "ID", "START", "TIME", "FROM", "TO", "KIND", "STATE", "CODEC", "LOST A/B")
	for _, c := range all {
		talk := "-"
		if !c.Answered.IsZero() {
			s := int(now.Sub(c.Answered).Seconds())
			talk = fmt.Sprintf("%02d:%02d", s/60, s%60)
		}
		lost := office.Lost(c.CallView)
		row(c.Office, c.ID, c.Start.Local().Format("15:04:05"), talk, c.From, c.To, string(c.Kind), c.State, c.Codec, fmt.Sprintf("%.1f/%.1f %%", lost[0], lost[1]))
	}
}

// writeCall is everything about one call.
func writeCall(t *tabwriter.Writer, c office.OfficeCall) {
	line := func(key string, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", key, fmt.Sprintf(format, args...))
	}
	line("call", "%s at %s, %s, %s", c.ID, c.Office, c.Kind, c.State)
	line("from", "%s", c.From)
	line("to", "%s", c.To)
	line("started", "%s", c.Start.Local().Format(time.DateTime))
	if !c.Answered.IsZero() {
		line("answered", "%s, %s ago", c.Answered.Local().Format(time.TimeOnly), span(time.Since(c.Answered)))
	}
	line("codec", "%s", c.Codec)
	lost := office.Lost(c.CallView)
	for i, side := range []string{"from A", "from B"} {
		m := c.Media[i]
		line(side, "%d packets, %d octets, %.1f %% lost, jitter %.1f ms", m.Packets, m.Octets, lost[i], m.Jitter)
	}
	line("icid", "%s", c.ICID)
	line("session", "%s", c.Session)
	line("call-ids", "%s  %s", c.CallIDs[0], c.CallIDs[1])
}

type hangup struct {
	target
	ID string `arg:"" help:"The call's id, as calls lists it."`
}

// Run is kong's.
func (c *hangup) Run(e *env) error {
	var done map[string]string
	if err := c.ask(e, "POST", "/hangup", c.query("id", c.ID), nil, &done); err != nil {
		return err
	}
	return e.show(done, func(t *tabwriter.Writer) { fmt.Fprintf(t, "call %s at %s ends\n", c.ID, done["office"]) })
}

type cdr struct {
	target
	User  string `help:"Only records about this user."`
	After string `help:"Go on after this record's id." placeholder:"ID"`
	Max   int    `short:"n" default:"50" help:"At most so many."`
}

// Run is kong's.
func (c *cdr) Run(e *env) error {
	var all []roam.CDR
	if err := c.ask(e, "GET", "/cdr", c.query("user", c.User, "after", c.After, "max", fmt.Sprint(c.Max)), nil, &all); err != nil {
		return err
	}
	return e.show(all, func(t *tabwriter.Writer) { writeCDRs(t, all) })
}

// writeCDRs is a line a record.
func writeCDRs(t *tabwriter.Writer, all []roam.CDR) {
	fmt.Fprintln(t, "START\tTALK\tFROM\tTO\tABOUT\tSERVED\tHOME\tKIND\tSTATUS\tENDED BY\tCODEC")
	for _, c := range all {
		talk := "-"
		switch {
		case c.End.IsZero():
			talk = "open"
		case !c.Answered.IsZero():
			talk = fmt.Sprintf("%.1f s", c.End.Sub(c.Answered).Seconds())
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", c.Start.Local().Format(time.DateTime), talk, c.From, c.To, c.Role, c.Office, c.Home, c.Kind, c.Status, c.By, c.Codec)
	}
}
