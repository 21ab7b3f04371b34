package office

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/siproam/siproam/provision"
	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// settings is office.yaml's "provision" with what it leaves to the rest of the file filled in.
func (c *Config) settings() provision.Config {
	p := c.Provision
	p.Domain, p.Emergency = c.Domain, c.Numbers.Emergency
	p.Timezone = cmp.Or(p.Timezone, c.Timezone, "UTC")
	p.Expires = cmp.Or(p.Expires, c.Registration.Expires)
	p.VoiceVLAN = cmp.Or(p.VoiceVLAN, c.DHCP.VoiceVLAN)
	if len(p.NTP) == 0 {
		for _, a := range c.DHCP.NTP {
			p.NTP = append(p.NTP, a.String())
		}
	}
	if len(p.Servers) == 0 && c.Processes != nil {
		for _, one := range c.Processes.Softswitches {
			if u, err := sip.ParseURI([]byte(one.Phones)); err == nil {
				at := u.Host
				if u.Port != 0 {
					at = fmt.Sprintf("%s:%d", u.Host, u.Port)
				}
				p.Servers = append(p.Servers, at)
			}
		}
	}
	return p
}

// settingsURL is where DHCP says that phones find their settings (options 66, 160), as its options are written; "" where there
// are none. A listener at every address is told as the one at which the phone has reached us.
func (c *Config) settingsURL() string {
	p := &c.Provision
	if !p.On() {
		return ""
	}
	base := p.URL
	if base == "" {
		scheme, addr, err := splitListen(p.Listen[0])
		if err != nil {
			return ""
		}
		host := addr.String()
		if addr.Addr().IsUnspecified() {
			host = fmt.Sprintf("{server}:%d", addr.Port())
		}
		base = scheme + "://" + host
	}
	base = strings.TrimSuffix(base, "/") + "/"
	if p.First == provision.BySecret && p.SecretFile == "" {
		base += "{secret}/"
	}
	return base
}

// settings: phones get them where their accounts are, and not from whoever has no lease.
func (f *findings) settings(c *Config) {
	f.below("provision", c.Provision.Validate())
	if !c.Provision.On() {
		return
	}
	if !c.has("registrar") {
		f.at("provision.listen", "the registrar's process has the accounts: it is the one to give phones their settings")
	}
	if c.Provision.Leases == provision.Required && c.DHCP.Mode != "server" {
		f.at("provision.leases", "required, and dhcp.mode is %s: no phone has a lease of ours; want ignored, with first: secret or certificate", c.DHCP.Mode)
	}
}

// provisioning makes the server of phones' settings, if there is one.
func (o *Office) provisioning(cfg Config) (err error) {
	if !cfg.Provision.On() {
		return nil
	}
	parts := provision.Parts{File: o.file, Accounts: phoneAccounts{o}, TLS: o.partners.phones(), Metrics: o.metrics, Log: o.log, Leases: phoneLeases{o}, Port: o.portBy}
	if o.settings, err = provision.New(cfg.settings(), parts); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	return nil
}

// portBy is where phones find us by a transport; 0: nowhere, yet.
func (o *Office) portBy(transport string) int {
	for _, l := range o.transport.Addrs() {
		if is, addr, err := splitListen(l); err == nil && is == transport {
			return int(addr.Port())
		}
	}
	return 0
}

// listenSettings binds its listeners.
func (o *Office) listenSettings() error {
	if o.settings == nil {
		return nil
	}
	return o.settings.Listen()
}

// Settings is where phones get their settings, once Ready; none: nowhere.
func (o *Office) Settings() []string {
	if o.settings == nil {
		return nil
	}
	return o.settings.Addrs()
}

// settlePhones has the registrar know every phone's login, also of accounts that were made anew.
func (o *Office) settlePhones(ctx context.Context) error {
	if o.settings == nil {
		return nil
	}
	return o.settings.Settle(ctx)
}

// phoneAccounts is the registrar as provision needs it.
type phoneAccounts struct{ o *Office }

// Account is provision.Accounts's.
func (a phoneAccounts) Account(ctx context.Context, name string) (provision.Account, error) {
	st, err := a.o.reg.Where(ctx, name)
	switch {
	case err != nil:
		return provision.Account{}, err
	case st.Visitor:
		return provision.Account{}, roam.NoSuchUser
	case st.User.Disabled:
		return provision.Account{}, roam.NotAllowed
	}
	return provision.Account{User: st.User.ID, Name: st.User.Name, Number: st.User.Number, Short: st.User.Short}, nil
}

// SetPhones is provision.Accounts's.
func (a phoneAccounts) SetPhones(ctx context.Context, phones map[roam.UserID]map[string]string, all bool) error {
	return a.o.reg.SetPhones(ctx, phones, all)
}

// phoneLeases asks our DHCP server, which lives on the loop.
type phoneLeases struct{ o *Office }

// At is provision.Leases's.
func (l phoneLeases) At(ctx context.Context, a netip.Addr) (lease roam.Lease, found bool, err error) {
	if l.o.leases == nil {
		return lease, false, nil
	}
	err = l.o.loop.Do(ctx, func() { lease, found = l.o.leases.At(a) })
	return lease, found, err
}

// OfficePhone is a phone that the office gives its settings, and where it is.
type OfficePhone struct {
	Office string `json:"office"`
	provision.Phone
	Plugged string           `json:"plugged,omitempty"` // the switch port or subnet that its lease is of
	At      *registrar.Phone `json:"at,omitempty"`      // where it has last registered; nil: nowhere since our start
}

// givenPhones is the phones of this office.
func (o *Office) givenPhones(ctx context.Context) (all []OfficePhone, err error) {
	at, err := o.reg.Phones(ctx)
	if err != nil {
		return nil, err
	}
	list := o.settings.Phones()
	leases := map[int]roam.Lease{}
	if o.leases != nil {
		if err := o.loop.Do(ctx, func() {
			for i, p := range list {
				addr := p.Addr
				if is, seen := at[p.Login]; seen && is.Addr.IsValid() {
					addr = is.Addr
				}
				if l, found := o.leases.At(addr); found && addr.IsValid() {
					leases[i] = l
				}
			}
		}); err != nil {
			return nil, err
		}
	}
	for i, p := range list {
		one := OfficePhone{Office: o.Name(), Phone: p}
		if m, ok := provision.ParseMAC(leases[i].MAC); ok && m == p.MAC {
			l := leases[i]
			spot := l.Spot()
			one.Plugged = spot.String()
		}
		if is, seen := at[p.Login]; seen && p.User != "" {
			one.At = &is
		}
		all = append(all, one)
	}
	return all, nil
}
