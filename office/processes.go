package office

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/edge"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/sip"
)

// Processes is the processes of an office whose registrar and softswitches are not one (METHOD M16). It is the same in the
// file of each; roles and uri say which of them a file is for.
type Processes struct {
	Registrar    Process   `yaml:"registrar"`
	Softswitches []Process `yaml:"softswitches"` // in the order in which phones are to try them
}

// Process is one of them, at its partner listener.
type Process struct {
	ID          roam.SwitchID `yaml:"id"`          // of a softswitch: "north/1"
	URI         string        `yaml:"uri"`         // its uri
	Certificate string        `yaml:"certificate"` // the name in its certificate that no other process has
	Phones      string        `yaml:"phones"`      // of a softswitch: where phones find it, "sip:sw1.north.example"
}

func (p Process) edge() edge.Process {
	return edge.Process{ID: p.ID, URI: p.URI, Certificate: p.Certificate, Phones: p.Phones}
}

// has says that this process has the role.
func (c *Config) has(role string) bool { return slices.Contains(c.Roles, role) }

// split says that registrar and softswitches are several processes.
func (c *Config) split() bool { return !c.has("registrar") || !c.has("softswitch") }

// self is the softswitch that this file is for; the zero Process in any other.
func (c *Config) self() Process {
	if c.Processes == nil || c.has("registrar") {
		return Process{}
	}
	for _, p := range c.Processes.Softswitches {
		if sameURI(p.URI, c.URI) {
			return p
		}
	}
	return Process{}
}

// node is this process's name in the routing store.
func (c *Config) node(file string) string {
	switch {
	case !c.split():
		return string(c.Office) + ":" + file // by which Redis tells whose it is to write
	case c.has("registrar"):
		return string(c.Office)
	}
	return string(c.self().ID)
}

// siblings is whom to take for a process of our own office, by the names of certificates.
func (c *Config) siblings() (names []string) {
	if c.Processes == nil {
		return nil
	}
	for _, p := range append(slices.Clone(c.Processes.Softswitches), c.Processes.Registrar) {
		names = append(names, strings.ToLower(p.Certificate))
	}
	return names
}

// hosts is the names and addresses of all processes: phones may mean the office by any.
func (p *Processes) hosts() (all []string) {
	if p == nil {
		return nil
	}
	for _, one := range append(slices.Clone(p.Softswitches), p.Registrar) {
		for _, text := range []string{one.URI, one.Phones} {
			if u, err := sip.ParseURI([]byte(text)); err == nil {
				all = append(all, u.Host)
			}
		}
	}
	return all
}

func sameURI(a, b string) bool {
	u, err1 := sip.ParseURI([]byte(a))
	v, err2 := sip.ParseURI([]byte(b))
	return err1 == nil && err2 == nil && u.Equal(v)
}

// switchName is how a softswitch of an office is called, after "office/".
var switchName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?$`)

// processes: roles in one process need none listed; else all are, and one of them is us.
func (f *findings) processes(c *Config) {
	registrar, softswitch := c.has("registrar"), c.has("softswitch")
	switch {
	case !registrar && !softswitch:
		f.at("roles", "neither registrar nor softswitch: there would be nothing to do")
		return
	case registrar && softswitch:
		if c.Processes != nil {
			f.at("processes", "registrar and softswitch are this one process by roles: leave one of the two out, or leave out processes")
		}
		return
	case c.Processes == nil:
		f.at("roles", "%v leaves the rest of the office to other processes, which processes must name", c.Roles)
		return
	}
	f.listed(c)
	f.ourselves(c)
	if c.PartnerListen == "" {
		f.at("partner_listen", "missing: the processes of an office speak to each other there")
	}
	if len(c.foreign()) > 0 {
		f.at("partners", "a foreign partner wants registrar and softswitch in one process in this version")
	}
	if registrar && len(c.Listen) > 0 {
		f.at("listen", "phones come to the softswitches: write listen: []")
	}
	if !registrar && c.Routes.Redis == "embedded" {
		f.at("routes.redis", "embedded would be a store of this process alone; all processes of all offices share one")
	}
}

// listed: each process has an address and a name of its own.
func (f *findings) listed(c *Config) {
	if len(c.Processes.Softswitches) == 0 {
		f.at("processes.softswitches", "empty: phones would reach nobody")
	}
	ids, uris, names := map[roam.SwitchID]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range c.Partners {
		names[strings.ToLower(p.Certificate)] = p.Certificate != ""
	}
	one := func(path string, p *Process) {
		u, err := sip.ParseURI([]byte(p.URI))
		switch {
		case p.URI == "":
			f.at(path+".uri", "missing: the uri of that process")
		case err != nil || u.User != "" || u.Transport() != "tls":
			f.at(path+".uri", "%q is not the address of a partner listener, such as \"sip:sw1.%s:5067;transport=tls\"", p.URI, c.Domain)
		case uris[u.String()]:
			f.at(path+".uri", "%q is another process's", p.URI)
		}
		uris[u.String()] = true
		switch name := strings.ToLower(p.Certificate); {
		case name == "":
			f.at(path+".certificate", "missing: the name in its certificate is who it is")
		case names[name]:
			f.at(path+".certificate", "%q is the name of another process or partner; each process needs one that no other certificate has", p.Certificate)
		default:
			names[name] = true
		}
	}
	one("processes.registrar", &c.Processes.Registrar)
	if p := &c.Processes.Registrar; p.ID != "" || p.Phones != "" {
		f.at("processes.registrar.id", "a registrar has neither id nor phones")
	}
	for i := range c.Processes.Softswitches {
		p, path := &c.Processes.Softswitches[i], fmt.Sprintf("processes.softswitches[%d]", i)
		one(path, p)
		office, name, _ := strings.Cut(string(p.ID), "/")
		switch {
		case office != string(c.Office) || !switchName.MatchString(name):
			f.at(path+".id", "%q is not the name of a softswitch of ours, such as %s/1", p.ID, c.Office)
		case ids[p.ID]:
			f.at(path+".id", "%q is another one's", p.ID)
		}
		ids[p.ID] = true
		if _, err := sip.ParseURI([]byte(p.Phones)); p.Phones != "" && err != nil {
			f.at(path+".phones", "%q is not a SIP URI", p.Phones)
		}
	}
}

// ourselves: uri is that of the process which roles say we are.
func (f *findings) ourselves(c *Config) {
	switch registrar := sameURI(c.URI, c.Processes.Registrar.URI); {
	case c.URI == "": // said elsewhere
	case c.has("registrar") && !registrar:
		f.at("uri", "%q is not that of processes.registrar (%s), which this process is by roles", c.URI, c.Processes.Registrar.URI)
	case !c.has("registrar") && registrar:
		f.at("uri", "%q is the registrar's; by roles this process is a softswitch", c.URI)
	case !c.has("registrar") && c.self().ID == "":
		f.at("uri", "%q is not that of any of processes.softswitches, one of which this process is by roles", c.URI)
	}
}

// outbox is the routing store for charging records of a softswitch: it sends, the registrar receives.
type outbox struct{ *routesrv.Store }

// nobodys is billing.Served of a ledger that receives nothing.
func nobodys(context.Context, roam.UserID, roam.OfficeID, time.Time) (bool, error) { return false, nil }

// Receive waits for the end: what comes for the office is the registrar's to keep.
func (outbox) Receive(ctx context.Context, _ func(string, roam.OfficeID, []byte) error) error {
	<-ctx.Done()
	return nil
}
