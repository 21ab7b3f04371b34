package cli

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
)

// lab is three offices on this machine, north, south and west, with test users and built-in phones. It exists
// in up and demo alone; nothing of it is a default of serve.
type lab struct {
	state    string
	addr     string // where phones reach the offices
	ports    ports
	redis    string // URL of a real Redis; "": the embedded one
	http     string // address of the pages
	store    string // address of the embedded routing store
	accounts *accounts
	log      zerolog.Logger

	// Of files for serve only.
	redisConf bool // make a password and a configuration for the Redis
	bridged   bool // each office has a network of its own
}

// names are the offices, in the order of everything.
var labOffices = [3]string{"north", "south", "west"}

// labPeople are the short names of some users.
var labPeople = map[string]string{"1001": "alice", "1002": "bob", "2001": "carol", "3001": "dave"}

// ports is where the lab listens.
type ports struct {
	sip, partner, media [3]int
	mediaSize           int // ports an office
	http, store         int
}

// standardBase is the port north's phones expect.
const standardBase = 5060

// portsAt is all ports of a lab. At 5060 they are the ones people know; at another base they lie close together
// above it, so that any free range does: SIP base, +100, +200; partners +7 of each; pages +300; routing store
// +400; media +500 to +1099.
func portsAt(base int) ports {
	p := ports{http: 8080, store: 6390, mediaSize: 200}
	media := 20000
	if base != standardBase {
		p.http, p.store, media = base+300, base+400, base+500
	}
	for i := range labOffices {
		p.sip[i], p.partner[i], p.media[i] = base+100*i, base+100*i+7, media+p.mediaSize*i
	}
	return p
}

// newLab is a lab at base.
func newLab(state, addr string, base int) *lab {
	p := portsAt(base)
	return &lab{state: state, addr: addr, ports: p, http: fmt.Sprintf("%s:%d", loopback, p.http), store: fmt.Sprintf("%s:%d", loopback, p.store)}
}

// portsMax is the highest base that leaves room for all.
const portsMax = 65535 - 1100

// proxy is the address of an office as phones have it.
func (l *lab) proxy(i int) string { return net.JoinHostPort(l.addr, fmt.Sprint(l.ports.sip[i])) }

// domain is the SIP domain of an office.
func domain(i int) string { return labOffices[i] + ".example" }

// loopback is where the lab keeps what only this machine needs: partner links, pages, routing store.
const loopback = "127.0.0.1"

// config is the generated configuration of one office.
func (l *lab) config(i int, redis string) office.Config {
	c := office.DefaultConfig()
	c.Office, c.Domain = roam.OfficeID(labOffices[i]), domain(i)
	c.State = filepath.Join(l.state, labOffices[i])
	c.Listen = []string{"udp:" + l.proxy(i), "tcp:" + l.proxy(i)}
	c.PartnerListen = fmt.Sprintf("tls:%s:%d", loopback, l.ports.partner[i])
	c.URI = fmt.Sprintf("sip:%s:%d;transport=tls", loopback, l.ports.partner[i])
	c.TLS = office.TLS{Cert: l.pem(labOffices[i] + ".pem"), Key: l.pem(labOffices[i] + ".key"), PartnerCA: l.pem("ca.pem")}
	c.Media.Ports = fmt.Sprintf("%d-%d", l.ports.media[i], l.ports.media[i]+l.ports.mediaSize-1)
	c.Routes.Redis = redis
	c.HTTP.Listen = "" // one page shows all three
	c.Numbers = roam.Numbers{
		Country: "1", International: "011", National: "1", Emergency: []string{"911", "112"},
		Extensions: map[string]string{extensions(i): public(i)}, OtherOffices: map[string]roam.OfficeID{},
	}
	for j, other := range labOffices {
		if j == i {
			continue
		}
		c.Numbers.OtherOffices[extensions(j)] = roam.OfficeID(other)
		p := roam.Partner{Office: roam.OfficeID(other), Certificate: certificateName(other)}
		p.Visitors.Max = 50
		c.Partners = append(c.Partners, p)
	}
	return c
}

// extensions and public are an office's numbers: 1xxx is +15550001xxx.
func extensions(i int) string { return fmt.Sprintf("%dxxx", i+1) }
func public(i int) string     { return fmt.Sprintf("+1555000%dxxx", i+1) }

// seed is the users of one office as a CSV.
func (l *lab) seed(i int) []byte {
	var b strings.Builder
	b.WriteString("user,name,aliases,password\n")
	for _, n := range numbersOf(i) {
		fmt.Fprintf(&b, "%s,%s,%s,%s\n", n, labPeople[n], labPeople[n], l.accounts.passwords[n])
	}
	return []byte(b.String())
}

// numbersOf is the extensions of an office's users.
func numbersOf(i int) (all []string) {
	for n := 1; n <= 9; n++ {
		all = append(all, fmt.Sprintf("%d00%d", i+1, n))
	}
	return all
}

// run runs the lab until ctx ends; ready is called with the house when phones are served.
func (l *lab) run(ctx context.Context, ready func(*office.House)) error {
	if err := os.MkdirAll(l.state, 0o700); err != nil {
		return err
	}
	if err := l.certificates(); err != nil {
		return err
	}
	store, redis, err := l.routes()
	if err != nil {
		return err
	}
	return beside(ctx, store, l.log, func(ctx context.Context) error { return l.house(ctx, redis, ready) })
}

// routes starts the embedded routing store, or looks whether the real one is there.
func (l *lab) routes() (*routesrv.Embedded, string, error) {
	if l.redis != "" {
		return nil, l.redis, reachable(l.redis)
	}
	store, err := routesrv.StartEmbedded(l.store, filepath.Join(l.state, "routes.snapshot"))
	if err != nil {
		return nil, "", fmt.Errorf("routing store %s: %w", l.store, office.Reason(err))
	}
	return store, "redis://" + store.Addr() + "/0", nil
}

// house runs the three offices and the phones in them.
func (l *lab) house(ctx context.Context, redis string, ready func(*office.House)) error {
	h := &office.House{State: l.state, Version: Version, Log: l.log, HTTP: l.http}
	for i := range labOffices {
		o, err := office.New(l.config(i, redis), l.log)
		if err != nil {
			for _, made := range h.Offices {
				made.Close()
			}
			return err
		}
		o.Seed = &office.Seed{CSV: l.seed(i), Reset: l.accounts.changed}
		h.Offices = append(h.Offices, o)
	}
	// The built-in phones outlive ctx a little: they say goodbye while the offices still listen.
	phones, err := l.phones()
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		runPhones(ctx, h, phones, l.log)
		stop()
	}()
	err = h.Run(run, func() {
		if ready != nil {
			ready(h)
		}
	})
	stop()
	if ctx.Err() == nil {
		return err // an office failed; its phones end with the process
	}
	<-gone
	return nil
}

// phones is the built-in phones: x009 echoes, x008 calls back.
func (l *lab) phones() (all []*phone.Phone, err error) {
	for i := range labOffices {
		for number, does := range map[string]phone.Behaviour{"9": phone.Echo, "8": phone.CallBack} {
			n := fmt.Sprintf("%d00%s", i+1, number)
			p, err := l.phone(n, i, i, phone.Config{Answer: does, TCP: does == phone.CallBack})
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// phone is a phone of user n of office home, plugged in at office at; the rest of cfg is the caller's.
func (l *lab) phone(n string, home, at int, cfg phone.Config) (*phone.Phone, error) {
	cfg.AOR, cfg.Login, cfg.Password = "sip:"+n+"@"+domain(home), n, l.accounts.passwords[n]
	cfg.Proxy, cfg.Listen = l.proxy(at), net.JoinHostPort(l.addr, "0")
	cfg.Agent, cfg.Log = "siproam "+Version, l.log.With().Str("phone", n).Logger().Level(zerolog.WarnLevel)
	return phone.New(cfg)
}

// lanAddr is this machine's first address that is not loopback, the one with a default route first.
func lanAddr() (string, error) {
	if c, err := net.Dial("udp4", "192.0.2.1:9"); err == nil { // nothing is sent
		defer c.Close()
		if a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(); !a.IsLoopback() {
			return a.String(), nil
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr().String(), nil
		}
	}
	return "", fmt.Errorf("--lan: no address but loopback on this machine")
}
