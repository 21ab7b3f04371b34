package cli

import (
	"fmt"
	"io"
	"strconv"
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

// table writes lines that begin with a word for what they are about, once for those that follow each other.
type table struct {
	out io.Writer
	key string
}

func (t *table) line(key, format string, args ...any) {
	shown := key
	if key == t.key {
		shown = ""
	}
	t.key = key
	fmt.Fprintf(t.out, "%-9s%s\n", shown, fmt.Sprintf(format, args...))
}

// writeExplanation is the answer for people.
func writeExplanation(out io.Writer, x *office.Explanation, now time.Time) {
	z := zone(x.Zone)
	t := &table{out: out}
	switch {
	case x.Online():
		fmt.Fprintf(out, "%s is at %s", x.User, x.At)
		if x.Move > 0 {
			fmt.Fprintf(out, " (move %d)", x.Move)
		}
		fmt.Fprintln(out)
	case x.Foreign:
		fmt.Fprintf(out, "%s is at none of our offices; home is %s, which is no siproam and knows\n", x.User, x.Home)
	default:
		fmt.Fprintf(out, "%s is offline; home is %s\n", x.User, x.Home)
	}
	for _, st := range []*office.Standing{x.There, x.AtHome} {
		checkLines(t, st, x, z)
	}
	for _, st := range []*office.Standing{x.AtHome, x.There} {
		whyLines(t, st, x, z)
	}
	t.line("source", "%s", x.Source)
	for _, p := range x.Policy {
		t.line("policy", "%s", p)
	}
	t.line("profile", "%s", profileLine(x))
	if x.There != nil && len(x.There.Cannot) > 0 {
		t.line("profile", "not possible at %s: %s", x.At, strings.Join(x.There.Cannot, ", "))
	}
	phoneLines(t, x, now)
	if !x.Next.IsZero() {
		t.line("next", "refresh due %s; otherwise offline", x.Next.In(z).Format("15:04:05"))
	}
	fmt.Fprintf(out, "a call from %s now would\n", x.Asking)
	for i, s := range x.Call {
		fmt.Fprintf(out, "  %d  %s\n", i+1, s)
	}
	if x.Unread != "" {
		fmt.Fprintln(out, "moves\n  not read:", x.Unread)
	} else if len(x.Moves) > 0 {
		fmt.Fprintln(out, "moves")
	}
	writeMoves(out, x.Moves, z)
}

// checkLines says of each device that st's office serves which REGISTER made it so, and by whose word.
func checkLines(t *table, st *office.Standing, x *office.Explanation, z *time.Location) {
	if st == nil {
		return
	}
	for _, at := range st.Stays {
		c := at.Check
		if c == nil {
			continue
		}
		s := fmt.Sprintf("REGISTER before the start of %s", at.Office)
		if !c.At.IsZero() {
			s = fmt.Sprintf("REGISTER %s at %s", c.At.In(z).Format("15:04:05"), at.Office)
		}
		switch {
		case c.By != x.Home:
			s += fmt.Sprintf(", admitted by %s itself: %s is silent, and its word of before holds", c.By, x.Home)
		case c.Foreign:
			s += ", accepted by " + string(c.By) + took(c.Millis)
		default:
			s += ", digest checked by " + string(c.By) + took(c.Millis)
		}
		if st.Profile != nil && c.Rev > 0 {
			s += fmt.Sprintf(", profile v%d of %s", st.Profile.Version, time.UnixMicro(int64(c.Rev)).In(z).Format("2006-01-02 15:04:05"))
		}
		if h := x.AtHome; st.Visitor && h != nil && h.Profile != nil && h.Profile.Rev > c.Rev {
			s += ", which home has changed since"
		}
		t.line("why", "%s", s)
	}
}

// took is how long home needed, "" when that is not known.
func took(ms float64) string {
	switch {
	case ms == 0:
		return ""
	case ms < 10:
		return " in " + strconv.FormatFloat(ms, 'g', 2, 64) + " ms"
	}
	return fmt.Sprintf(" in %.0f ms", ms)
}

// whyLines is a line for each device in the record of st's office, and what is still open.
func whyLines(t *table, st *office.Standing, x *office.Explanation, z *time.Location) {
	if st == nil {
		return
	}
	clock := func(t time.Time) string { return t.In(z).Format("15:04:05") }
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
			s += ", home's word holds until " + at.Ticket.In(z).Format("2006-01-02 15:04")
		}
		if !at.Provisional.IsZero() {
			s += ", not recorded by home yet: the registration message is repeated until " + clock(at.Provisional)
		}
		t.line("why", "%s", s)
		if c := at.Can; c != nil && !st.Visitor {
			t.line("why", "the device there %s", abilities(c))
		}
		if at.Speaks != nil {
			t.line("why", "%s %s", at.Office, attributes(at.Speaks))
		}
		if len(at.Lacks) > 0 {
			t.line("why", "%s does not perform: %s", at.Office, strings.Join(at.Lacks, ", "))
		}
	}
	for _, one := range []struct {
		at   *time.Time
		text string
	}{{st.Gone, "left; calls are redirected until "}, {st.Rests, "offline, which home was not told; back by one message until "},
		{st.Ends, "over; home did not answer, and is told again until "}} {
		if one.at != nil {
			t.line("why", "%s: %s%s", holder, one.text, clock(*one.at))
		}
	}
	for _, to := range st.Owed {
		t.line("why", "home still has to tell %s that the user has left", to)
	}
}

// phoneLines is the phones where the user is, then the others, which home rings, too.
func phoneLines(t *table, x *office.Explanation, now time.Time) {
	for _, p := range x.Phones {
		if p.Office == x.At {
			t.line("phone", "%s", phoneLine(p, &x.Whereabouts, now))
		}
	}
	for _, p := range x.Phones {
		if p.Office != x.At {
			t.line("older", "%s   rings too", phoneLine(p, &x.Whereabouts, now))
		}
	}
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
	switch {
	case p == nil && x.Foreign:
		return "known at home only"
	case p == nil:
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
