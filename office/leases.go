package office

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/web"
)

// errNoDHCP says that nobody has a lease of ours.
var errNoDHCP = errors.New("no DHCP server here: dhcp is not among roles")

// OfficeLease is an address that the office's DHCP server has given, or holds, and who is registered from it.
type OfficeLease struct {
	Office  string        `json:"office"`
	Addr    netip.Addr    `json:"addr"`
	State   string        `json:"state"` // bound, offered, declined; free: a client had it, and gets it back
	MAC     string        `json:"mac,omitempty"`
	Client  string        `json:"client,omitempty"` // its identifier (option 61, or a DUID) in hex
	Host    string        `json:"host,omitempty"`
	Vendor  string        `json:"vendor,omitempty"`
	Port    string        `json:"port,omitempty"` // of a switch, as a relay says
	Subnet  netip.Prefix  `json:"subnet"`
	Site    string        `json:"site,omitempty"` // the civic address
	Known   bool          `json:"known,omitempty"`
	Plugged time.Time     `json:"plugged,omitzero"` // its last DISCOVER
	Since   time.Time     `json:"since,omitzero"`
	Until   time.Time     `json:"until,omitzero"`
	Users   []roam.UserID `json:"users,omitempty"` // registered from there
	Zone    string        `json:"zone"`
}

// holds says that word is in something that people see of l.
func (l *OfficeLease) holds(word string) bool {
	all := []string{l.Addr.String(), l.State, l.MAC, strings.ReplaceAll(l.MAC, ":", ""), l.Host, l.Vendor, l.Port, l.Subnet.String(), l.Site}
	for _, u := range l.Users {
		all = append(all, string(u))
	}
	return slices.ContainsFunc(all, func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(word)) })
}

// Leases is what the DHCP servers of this process have given, by address: of one state, unless that is "", those in which word is
// found. Without a state what nobody has any more is left out.
func (h *House) Leases(ctx context.Context, only, state, word string) ([]OfficeLease, error) {
	all, some := []OfficeLease{}, false
	for _, o := range h.chosen(only) {
		if o.dhcp == nil {
			continue
		}
		some = true
		list, err := o.listLeases(ctx)
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			if (l.State == state || state == "" && l.State != lease.Free.String()) && l.holds(word) {
				all = append(all, l)
			}
		}
	}
	if !some {
		return nil, usage(errNoDHCP.Error())
	}
	return all, nil
}

// listLeases is those of this office.
func (o *Office) listLeases(ctx context.Context) (all []OfficeLease, err error) {
	list, err := o.dhcp.Leases(ctx)
	if err != nil {
		return nil, err
	}
	users, err := o.reg.ByAddr(ctx)
	if err != nil {
		return nil, err
	}
	cfg := o.Config()
	for _, l := range list {
		one := OfficeLease{
			Office: o.Name(), Addr: l.Addr, State: l.State.String(), MAC: l.MAC, Host: l.Host, Vendor: l.Vendor, Port: l.Port, Subnet: l.Subnet,
			Site: cfg.DHCP.Site(l.Addr, l.Port), Known: l.Known, Plugged: l.Plugged, Since: l.Since, Until: l.Until, Zone: o.zone(),
		}
		if id := hex.EncodeToString([]byte(l.Client)); strings.TrimPrefix(id, "01") != strings.ReplaceAll(l.MAC, ":", "") {
			one.Client = id
		}
		if l.State == lease.Bound {
			one.Users = users[l.Addr]
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b OfficeLease) int { return cmp.Or(a.Addr.Compare(b.Addr)) })
	return all, nil
}

// addresses is how many there are in each state, for the page.
func (o *Office) addresses(ctx context.Context) (*web.DHCP, error) {
	if o.dhcp == nil {
		return nil, nil
	}
	d := &web.DHCP{Serves: o.dhcp.Trouble() == nil}
	counts, err := o.dhcp.Counts(ctx)
	for _, c := range counts {
		d.Free, d.Offered, d.Bound, d.Declined = d.Free+c.Free, d.Offered+c.Offered, d.Bound+c.Bound, d.Declined+c.Declined
	}
	return d, err
}
