package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/siproam/siproam/office"
)

type where struct {
	target
	User string `arg:"" optional:"" help:"Number, alias or user@domain; default: everybody."`
}

// Run is kong's.
func (c *where) Run(e *env) error {
	if c.User == "" {
		return c.everybody(e)
	}
	var w office.Whereabouts
	if err := c.ask(e, "GET", "/where", c.query("user", c.User), nil, &w); err != nil {
		return err
	}
	if err := e.show(w, func(t *tabwriter.Writer) { writeWhere(t, &w, time.Now()) }); err != nil {
		return err
	}
	if !w.Online() {
		return &exit{code: office.ExitOffline}
	}
	return nil
}

// writeWhere is the answer for people.
func writeWhere(out io.Writer, w *office.Whereabouts, now time.Time) {
	head := []string{string(w.User)}
	for _, s := range []string{w.Name, w.Number} {
		if s != "" {
			head = append(head, s)
		}
	}
	fmt.Fprintln(out, strings.Join(head, "   "))
	line := func(key, format string, args ...any) { fmt.Fprintf(out, "%-9s%s\n", key, fmt.Sprintf(format, args...)) }
	at := string(w.At)
	switch {
	case !w.Online() && w.Foreign:
		line("at", "none of our offices; home is %s, which is no siproam and knows", w.Home)
	case !w.Online():
		line("at", "offline; home is %s", w.Home)
	case w.Suspect:
		line("at", "%s, but its softswitch gives no sign of life", at)
	case w.At == w.Home:
		line("at", "%s, at home, online", at)
	default:
		line("at", "%s, visiting, online", at)
	}
	if !w.Since.IsZero() {
		line("since", "%s", since(w, now))
	}
	for _, p := range w.Phones {
		line("phone", "%s", phoneLine(p, w, now))
	}
	if w.Online() && len(w.Phones) == 0 {
		line("phone", "known at %s only", at)
	}
	if w.Switch != "" {
		line("served", "%s    %s", w.Switch, word(w.Suspect, "no sign of life", "alive"))
	}
	line("source", "%s", w.Source)
}

// since is when the user came, by the office's clock, how long ago, and from where.
func since(w *office.Whereabouts, now time.Time) string {
	s := w.Since.In(zone(w.Zone)).Format("2006-01-02 15:04:05 -07:00") + " (" + span(now.Sub(w.Since)) + ")"
	if w.Move > 0 {
		s += fmt.Sprintf("     move %d", w.Move)
		if w.From != "" {
			s += ", from " + string(w.From)
		}
	}
	return s
}

func phoneLine(p office.PhoneAt, w *office.Whereabouts, now time.Time) string {
	var s []string
	for _, one := range []string{p.Agent, strings.TrimSpace(p.Addr + " " + strings.ToLower(p.Transport))} {
		if one != "" {
			s = append(s, one)
		}
	}
	if p.Device != "" {
		s = append(s, "device "+shortDevice(string(p.Device)))
	}
	if p.Spot != nil {
		s = append(s, "stands at "+p.Spot.String())
	}
	if p.Office != w.At {
		s = append(s, "at "+string(p.Office))
	}
	if p.Suspect {
		s = append(s, "not heard since the restart")
	} else if !p.Until.IsZero() {
		s = append(s, fmt.Sprintf("refresh due in %d s", int(max(p.Until.Sub(now), 0).Seconds())))
	}
	return strings.Join(s, "   ")
}

// shortDevice is enough of an instance id to tell phones apart.
func shortDevice(d string) string {
	if strings.HasPrefix(d, "mac:") { // of its lease: makers share the first half
		return d
	}
	d = strings.Trim(strings.TrimPrefix(strings.Trim(d, `"<>`), "urn:uuid:"), "<>")
	if i := strings.IndexByte(d, '-'); i > 3 {
		return d[:i]
	}
	return d[:min(len(d), 17)]
}

// zone is the timezone of that name, this machine's when it is unknown here.
func zone(name string) *time.Location {
	if z, err := time.LoadLocation(name); err == nil {
		return z
	}
	return time.Local
}

// span is a time that has passed, in two units at most.
func span(d time.Duration) string {
	s := int(max(d, 0).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
	}
	return fmt.Sprintf("%d days", s/86400)
}

// everybody is a line a user.
func (c *where) everybody(e *env) error {
	var all []office.Whereabouts
	if err := c.ask(e, "GET", "/where", c.query(), nil, &all); err != nil {
		return err
	}
	return e.show(all, func(t *tabwriter.Writer) {
		fmt.Fprintln(t, "USER\tNAME\tHOME\tAT\tSINCE\tPHONE")
		now := time.Now()
		for _, w := range all {
			at, ago, phone := "offline", "", ""
			if w.Online() {
				at = string(w.At)
			}
			if !w.Since.IsZero() && w.Online() {
				ago = span(now.Sub(w.Since))
			}
			if len(w.Phones) > 0 && w.Online() {
				phone = strings.TrimSpace(w.Phones[0].Agent + " " + w.Phones[0].Addr + " " + strings.ToLower(w.Phones[0].Transport))
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", w.User, w.Name, w.Home, at, ago, phone)
		}
	})
}
