package cli

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/siproam/siproam/office"
)

// leases lists what the DHCP server has given.
type leases struct {
	target
	Word string `arg:"" optional:"" help:"Only those in which this is found: a MAC or its beginning, an address, a host, a maker, a switch port, a user."`
	Only string `enum:"bound,offered,declined,free," default:"" help:"Only those in this state: bound, offered, declined, or free, which somebody had before."`
}

// Run is kong's.
func (c *leases) Run(e *env) error {
	var all []office.OfficeLease
	if err := c.ask(e, "GET", "/leases", c.query("word", c.Word, "state", c.Only), nil, &all); err != nil {
		return err
	}
	return e.show(all, func(t *tabwriter.Writer) {
		if len(all) > 0 {
			fmt.Fprintln(t, "ADDRESS\tSTATE\tMAC\tHOST\tVENDOR\tWHERE\tUSER\tPLUGGED IN\tUNTIL")
		}
		for i := range all {
			writeLease(t, &all[i], time.Now())
		}
	})
}

// writeLease is one line of the list.
func writeLease(t *tabwriter.Writer, l *office.OfficeLease, now time.Time) {
	where := cmp.Or(l.Port, l.Subnet.String())
	if l.Site != "" {
		where += ", " + l.Site
	}
	var users []string
	for _, u := range l.Users {
		users = append(users, string(u))
	}
	plugged := "-"
	if !l.Plugged.IsZero() {
		plugged = ago(now.Sub(l.Plugged))
	}
	until := "-"
	if !l.Until.IsZero() {
		until = l.Until.In(zone(l.Zone)).Format("2006-01-02 15:04:05 -07:00")
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Addr, l.State, cmp.Or(l.MAC, l.Client), cmp.Or(l.Host, "-"), cmp.Or(l.Vendor, "-"), where,
		cmp.Or(strings.Join(users, " "), "-"), plugged, until)
}
