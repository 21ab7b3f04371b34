package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
)

type explain struct {
	target
	User string `arg:"" help:"Number, alias or user@domain."`
	From string `help:"Office of the caller in the call that is foreseen; default: home." placeholder:"OFFICE"`
}

// Run is kong's.
func (c *explain) Run(e *env) error {
	var x office.Explanation
	if err := c.ask(e, "GET", "/explain", c.query("user", c.User, "from", c.From), nil, &x); err != nil {
		return err
	}
	return e.show(x, func(t *tabwriter.Writer) { writeExplanation(t, &x, time.Now()) })
}

// writeExplanation is the answer for people.
func writeExplanation(out io.Writer, x *office.Explanation, now time.Time) {
	z := zone(x.Zone)
	clock := func(t time.Time) string { return t.In(z).Format("15:04:05") }
	line := func(key, format string, args ...any) { fmt.Fprintf(out, "%-9s%s\n", key, fmt.Sprintf(format, args...)) }
	if x.Online() {
		fmt.Fprintf(out, "%s is at %s", x.User, x.At)
		if x.Move > 0 {
			fmt.Fprintf(out, " (move %d)", x.Move)
		}
		fmt.Fprintln(out, " by the "+x.Source)
	} else {
		fmt.Fprintf(out, "%s is offline; home is %s, by the %s\n", x.User, x.Home, x.Source)
	}
	for _, st := range []*office.Standing{x.AtHome, x.There} {
		for _, why := range whyLines(st, x, clock) {
			line("why", "%s", why)
		}
	}
	for _, p := range x.Policy {
		line("policy", "%s", p)
	}
	line("profile", "%s", profileLine(x))
	if x.There != nil && len(x.There.Cannot) > 0 {
		line("cannot", "%s does not do: %s", x.At, strings.Join(x.There.Cannot, ", "))
	}
	for _, p := range x.Phones {
		line("phone", "%s", phoneLine(p, &x.Whereabouts, now))
	}
	if !x.Next.IsZero() {
		line("next", "refresh due %s; otherwise offline", clock(x.Next))
	}
	fmt.Fprintf(out, "a call from %s now would\n", x.Asking)
	for i, s := range x.Call {
		fmt.Fprintf(out, "  %d  %s\n", i+1, s)
	}
	fmt.Fprintln(out, "moves")
	if x.Unread != "" {
		fmt.Fprintln(out, "  not read:", x.Unread)
	}
	writeMoves(out, x.Moves, z)
}

// whyLines is a line for each device that st's office holds, and what is still open.
func whyLines(st *office.Standing, x *office.Explanation, clock func(time.Time) string) (lines []string) {
	if st == nil {
		return nil
	}
	holder := "home's record"
	if st.Visitor {
		holder = "visited office's record"
	}
	for _, at := range st.Stays {
		s := fmt.Sprintf("%s: at %s until %s, epoch %d", holder, at.Office, clock(at.Until), at.Epoch)
		if at.Device != "" {
			s += ", device " + shortDevice(string(at.Device))
		}
		if !at.Ticket.IsZero() {
			s += ", digest checked by " + string(x.Home)
		}
		if !at.Provisional.IsZero() {
			s += ", not recorded by home yet: the registration message is repeated until " + clock(at.Provisional)
		}
		lines = append(lines, s)
		if c := at.Can; c != nil && !st.Visitor {
			lines = append(lines, "the device there "+abilities(c))
		}
		if at.Speaks != nil {
			lines = append(lines, string(at.Office)+" "+attributes(at.Speaks))
		}
		if len(at.Lacks) > 0 {
			lines = append(lines, string(at.Office)+" does not perform: "+strings.Join(at.Lacks, ", "))
		}
	}
	if st.Gone != nil {
		lines = append(lines, holder+": left; calls are redirected until "+clock(*st.Gone))
	}
	if st.Rests != nil {
		lines = append(lines, holder+": offline, which home was not told; back by one message until "+clock(*st.Rests))
	}
	if st.Ends != nil {
		lines = append(lines, holder+": over; home did not answer, and is told again until "+clock(*st.Ends))
	}
	for _, to := range st.Owed {
		lines = append(lines, "home still has to tell "+to+" that the user has left")
	}
	return lines
}

// abilities is what a device said of itself.
func abilities(c *roam.Abilities) string {
	var s []string
	for _, one := range []struct {
		key  string
		list []string
	}{{"needs", c.Require}, {"has", c.Supported}, {"takes", c.Methods}} {
		if len(one.list) > 0 {
			s = append(s, one.key+" "+strings.Join(one.list, " "))
		}
	}
	if c.Transport != roam.NoTransport {
		s = append([]string{"came by " + c.Transport.Word()}, s...)
	}
	return strings.Join(s, ", ")
}

// attributes is what an office says of itself.
func attributes(a *roam.Attributes) string {
	s := []string{"is " + a.Software}
	for _, one := range []struct {
		key  string
		list []string
	}{{"speaks", a.Transports}, {"carries", a.Methods}, {"codecs", a.Codecs}, {"performs", a.Services}} {
		if len(one.list) > 0 {
			s = append(s, one.key+" "+strings.Join(one.list, " "))
		}
	}
	if a.CallsMax > 0 {
		s = append(s, fmt.Sprintf("at most %d calls", a.CallsMax))
	}
	if a.MessageMax > 0 {
		s = append(s, fmt.Sprintf("messages of at most %d octets", a.MessageMax))
	}
	return strings.Join(s, ", ")
}

// profileLine is what the profile in force says; a visited office's copy before home's.
func profileLine(x *office.Explanation) string {
	var p *roam.Profile
	for _, st := range []*office.Standing{x.AtHome, x.There} {
		if st != nil && st.Profile != nil {
			p = st.Profile
		}
	}
	if p == nil {
		return "known at other offices only"
	}
	s := []string{fmt.Sprintf("v%d", p.Version)}
	for _, one := range []struct{ key, value string }{{"name", p.Name}, {"number", p.Number}, {"extension", p.Short}} {
		if one.value != "" {
			s = append(s, one.key+" "+one.value)
		}
	}
	if p.Calls > 0 {
		s = append(s, fmt.Sprintf("at most %d calls", p.Calls))
	}
	if len(p.Bar) > 0 {
		s = append(s, "may not dial "+strings.Join(p.Bar, " "))
	}
	if len(p.Allow) > 0 {
		s = append(s, "may dial "+strings.Join(p.Allow, " "))
	}
	if f := p.Forward; f != nil {
		for _, one := range []struct{ when, to string }{{"always", f.Always}, {"when busy", f.Busy}, {"without an answer", f.NoAnswer}, {"when offline", f.Offline}} {
			if one.to != "" {
				s = append(s, "calls go "+one.when+" to "+one.to)
			}
		}
	}
	if p.Dial != nil {
		s = append(s, "dials by the plan of "+string(x.Home))
	}
	return strings.Join(s, ", ")
}

// writeMoves is a line a move.
func writeMoves(out io.Writer, moves []routesrv.Move, z *time.Location) {
	name := func(o roam.OfficeID) string {
		if o == "" {
			return "offline"
		}
		return string(o)
	}
	for _, m := range moves {
		at, _ := time.Parse(time.RFC3339, m.At)
		s := fmt.Sprintf("  %-4d %s  %s -> %s   %s", m.Move, at.In(z).Format("2006-01-02 15:04:05"), name(m.From), name(m.To), m.Why)
		if m.Device != "" {
			s += ", device " + shortDevice(string(m.Device))
		}
		fmt.Fprintln(out, s)
	}
}

type moves struct {
	target
	User string `arg:"" help:"Number, alias or user@domain."`
}

// Run is kong's.
func (c *moves) Run(e *env) error {
	var all []routesrv.Move
	if err := c.ask(e, "GET", "/moves", c.query("user", c.User), nil, &all); err != nil {
		return err
	}
	return e.show(all, func(t *tabwriter.Writer) { writeMoves(t, all, time.Local) })
}

type release struct {
	target
	User string `arg:"" help:"Number, alias or user@domain."`
}

// Run is kong's.
func (c *release) Run(e *env) error {
	var all []office.Released
	if err := c.ask(e, "POST", "/release", c.query("user", c.User), nil, &all); err != nil {
		return err
	}
	return e.show(all, func(t *tabwriter.Writer) {
		for _, r := range all {
			fmt.Fprintf(t, "%s: %s ended %d registrations; a phone that lives comes back with its next refresh\n", r.User, r.Office, r.Devices)
		}
	})
}

type resync struct{ target }

// Run is kong's.
func (c *resync) Run(e *env) error {
	var said map[string]string
	if err := c.ask(e, "POST", "/resync", c.query(), nil, &said); err != nil {
		return err
	}
	return e.show(said, func(t *tabwriter.Writer) {
		for _, name := range sorted(said) {
			fmt.Fprintf(t, "%s: comparing the routing store with this office's users, %s\n", name, said[name])
		}
	})
}
