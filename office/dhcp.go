package office

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/siproam/siproam/dhcp"
	"github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/nameserver"
	"github.com/siproam/siproam/web"
)

// dhcp is office.yaml's "dhcp" with what it leaves to the rest of the file filled in.
func (c *Config) dhcp() dhcp.Config {
	d := c.DHCP
	d.Timezone = cmp.Or(d.Timezone, c.Timezone)
	d.Provision = cmp.Or(d.Provision, c.settingsURL())
	if len(d.DNS) == 0 { // softphones find us by it
		for _, l := range c.NameServer.Listen {
			if l.Addr().Is4() && l.Port() == 53 {
				d.DNS = append(d.DNS, l.Addr())
			}
		}
	}
	return d
}

// dhcp: the DHCP server is where roles says, beside the registrar, which asks it who has an address.
func (f *findings) dhcp(c *Config) {
	f.below("dhcp", c.DHCP.Validate())
	for i, r := range c.Roles {
		if r != "dhcp" {
			continue
		}
		path := fmt.Sprintf("roles[%d]", i)
		switch {
		case c.DHCP.Mode == "none":
			f.at(path, "dhcp, and dhcp.mode is none: nothing to do")
		case !c.has("registrar"):
			f.at(path, "dhcp: the registrar asks it who has an address; both belong into one process")
		}
	}
	if (c.DHCP.Mode == "server" || c.DHCP.Mode == "proxy") && !c.has("dhcp") {
		f.at("dhcp.mode", "%s, and roles leave dhcp out: add it there", c.DHCP.Mode)
	}
}

// newDHCP makes the DHCP server, if it is in this process. Its sockets are opened by listenDHCP.
func (o *Office) newDHCP(cfg Config) (err error) {
	if !cfg.has("dhcp") {
		return nil
	}
	o.wires = &wires{}
	t := &told{o: o}
	if o.dhcp, err = dhcp.New(cfg.dhcp(), o.loop, o.file, o.wires, t.servers, o.metrics, o.log); err != nil {
		return err
	}
	o.leases = o.dhcp
	return nil
}

// watchLeases has the flows of an address end with its lease, and where a phone stands told of calls that need it.
func (o *Office) watchLeases() {
	if o.dhcp == nil {
		return
	}
	o.dhcp.OnOver(o.reg.LeaseOver)
	if o.settings != nil {
		o.dhcp.OnKnown(o.settings.Knows)
		o.dhcp.OnSecret(o.settings.Secret)
	}
	if o.sw != nil {
		o.sw.Spots(o.dhcp.At)
	}
}

// wires is the network of DHCP, from listenDHCP on.
type wires struct{ dhcp.Wire }

// listenDHCP opens the sockets: what keeps us from that, as another program on this machine or a missing capability, keeps the
// office from starting.
func (o *Office) listenDHCP() error {
	if o.dhcp == nil || o.wires.Wire != nil { // a test has brought its own
		return nil
	}
	cfg := o.Config()
	wc := wire.Config{Interfaces: cfg.DHCP.Interfaces, Four: true, Six: cfg.DHCP.Six(), Heard: o.dhcp.Heard, Metrics: o.metrics, Log: o.log}
	w, err := wire.Open(wc)
	if err != nil {
		return fmt.Errorf("dhcp: %w", err)
	}
	o.wires.Wire = w
	return nil
}

// closeDHCP gives the sockets back when the server does not run.
func (o *Office) closeDHCP() {
	if o.wires == nil {
		return
	}
	if w, open := o.wires.Wire.(*wire.Wire); open {
		w.Close()
	}
}

// serveDHCP runs the DHCP server.
func (o *Office) serveDHCP(ctx context.Context) error {
	if err := o.dhcp.Run(ctx); err != nil {
		return fmt.Errorf("dhcp: %w", err)
	}
	return nil
}

// dhcpPart is the DHCP server's health: one that serves nowhere makes the office unready, since phones get no address.
func (o *Office) dhcpPart() (p web.Part, serves bool) {
	p = web.Part{Name: "dhcp", OK: true}
	if err := o.dhcp.Trouble(); err != nil {
		p.OK, p.Detail = false, err.Error()
	}
	return p, p.OK || len(o.wires.Interfaces()) > 0 && !errors.Is(o.dhcp.Trouble(), dhcp.ErrBeside)
}

// told is what phones are told in option 120: how they reach the softswitches, best first. It is on the loop.
type told struct {
	o    *Office
	is   dhcp.Servers
	when time.Time
}

// toldFor is how long one answer does: an avalanche of phones asks for it thousands of times.
const toldFor = time.Second

func (t *told) servers() dhcp.Servers {
	if now := t.o.loop.Now(); t.when.IsZero() || now.Sub(t.when) >= toldFor || now.Before(t.when) {
		cfg := t.o.Config()
		t.when, t.is = now, serversOf(t.o.hosts(&cfg))
	}
	return t.is
}

// serversOf is names where phones are to check a certificate, or where the softswitches have no addresses that we know; else
// addresses (RFC 3361 3): a phone needs no DNS for those.
func serversOf(all []nameserver.Host) (s dhcp.Servers) {
	for _, h := range all {
		if h.UDP == 0 && h.TCP == 0 && h.TLS != 0 || len(h.Addrs) == 0 {
			s.Names = append(s.Names, h.Name)
		}
	}
	if len(s.Names) > 0 { // names go out alone: all have one
		s.Names = nil
		for _, h := range all {
			s.Names = append(s.Names, h.Name)
		}
		return s
	}
	for _, h := range all {
		s.Addrs = append(s.Addrs, h.Addrs...)
	}
	return s
}
