package cli

import (
	"cmp"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/siproam/siproam/office"
)

// phones is the commands about phones that get their settings from the office.
type phones struct {
	List   phoneList   `cmd:"" default:"1" help:"List the phones: whose, where, and whether they are registered; also those that asked and are nobody's."`
	Add    phoneAdd    `cmd:"" help:"Give a phone to a user: it fetches his account, with a password of its own."`
	Remove phoneRemove `cmd:"" help:"Take a phone from its user: its password ends, and what it has registered."`
	Reset  phoneReset  `cmd:"" help:"Give a phone a new password; it fetches its settings as for the first time."`
}

type phoneList struct{ target }

// Run is kong's.
func (c *phoneList) Run(e *env) error {
	var all []office.OfficePhone
	if err := c.ask(e, "GET", "/phones", c.query(), nil, &all); err != nil {
		return err
	}
	return e.show(all, func(t *tabwriter.Writer) {
		for i := range all {
			writePhone(t, &all[i], time.Now())
		}
	})
}

// writePhone is one line of the list.
func writePhone(t *tabwriter.Writer, p *office.OfficePhone, now time.Time) {
	user, addr, fetched := cmp.Or(string(p.User), "nobody's"), "-", "never fetched"
	if p.Addr.IsValid() {
		addr = p.Addr.String()
	}
	if !p.Fetched.IsZero() {
		fetched = "fetched " + ago(now.Sub(p.Fetched))
		if p.User == "" {
			fetched = "asked " + ago(now.Sub(p.Fetched))
			if p.Refused != "" {
				fetched += ", refused: " + p.Refused
			}
		}
	}
	registered := "-"
	if p.At != nil {
		registered = word(p.At.Registered, "registered", "not registered")
		if string(p.At.Office) != p.Office {
			registered += " at " + string(p.At.Office)
		} else if p.At.Addr.IsValid() {
			addr = p.At.Addr.String()
		}
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.MAC.Colons(), p.Office, cmp.Or(p.Vendor, "-"), user, addr, cmp.Or(p.Plugged, "-"), fetched, registered)
}

// ago is d as people say it.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// ofPhone is a command about one phone.
type ofPhone struct {
	target
	MAC string `arg:"" help:"Its MAC, such as 00:15:65:a1:b2:c3."`
}

// do asks for one change and says what came of it.
func (c *ofPhone) do(e *env, method, path, done string, q url.Values) error {
	var p office.OfficePhone
	if err := c.ask(e, method, path, q, nil, &p); err != nil {
		return err
	}
	return e.show(p, func(t *tabwriter.Writer) {
		fmt.Fprintf(t, "%s: %s %s\n", p.Office, p.MAC.Colons(), done)
	})
}

type phoneAdd struct {
	ofPhone
	User   string `arg:"" help:"Number, alias or user@domain."`
	Vendor string `help:"Whose phone it is, where what it calls itself does not tell: yealink, poly, snom, cisco, grandstream, fanvil, baresip, or a folder of templates."`
}

// Run is kong's.
func (c *phoneAdd) Run(e *env) error {
	return c.do(e, "POST", "/phone", "is "+c.User+"'s; start it anew, and it fetches its settings", c.query("mac", c.MAC, "user", c.User, "vendor", c.Vendor))
}

type phoneRemove struct{ ofPhone }

// Run is kong's.
func (c *phoneRemove) Run(e *env) error {
	return c.do(e, "DELETE", "/phone", "is nobody's now", c.query("mac", c.MAC))
}

type phoneReset struct{ ofPhone }

// Run is kong's.
func (c *phoneReset) Run(e *env) error {
	return c.do(e, "POST", "/phone/reset", "has a new password; start it anew, and it fetches its settings", c.query("mac", c.MAC))
}
