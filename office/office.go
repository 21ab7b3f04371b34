// Package office builds one office from its configuration, and starts, reloads, drains
// and stops it. It is the only package that sees all others.
//
// An Office wires the roles: REGISTER, office cards and supersedes go to the registrar, calls to the
// softswitch, both ask routesrv, records go through billing, and all of that runs on the office's one
// loop. A House is the offices of one process with the control socket that commands use and the
// pages for people.
package office

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/billing"
	"github.com/siproam/siproam/dhcp"
	"github.com/siproam/siproam/edge"
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/nameserver"
	"github.com/siproam/siproam/provision"
	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/sip/transport"
	"github.com/siproam/siproam/softswitch"
	"github.com/siproam/siproam/store"
)

// Bounds of an office's loop: posts waiting for a turn (full: 503) and questions under way at once.
const (
	loopQueue = 8192
	loopAsks  = 1024
)

// guess is how many messages a wrong password counts for: by default an address has 40 guesses at once, then 10 a second.
const guess = 50

// Office is one office. New makes it, Run runs it once.
type Office struct {
	Seed *Seed // nil: none; set before Run

	mu    sync.Mutex // guards cfg, untap
	cfg   Config
	untap func() // ends the logging of messages

	meet    func(context.Context) // nil, or waits until the other offices of the house have settled
	log     zerolog.Logger
	made    time.Time
	ready   chan struct{} // closed when phones are served
	metrics *metric.Set
	health  health

	file      *store.File
	loop      *loop.Loop
	partners  *partners
	transport *transport.Transport
	layer     *transaction.Layer
	routes    *routesrv.Store
	relay     *media.Relay
	ledger    *billing.Ledger
	sw        *softswitch.Switch // nil without that role, as the next one
	reg       *registrar.Server
	near      *edge.Near // the registrar's stand-in, when only the softswitch is here
	far       *edge.Far  // the softswitches' stand-in, when only the registrar is
	table     *dialog.Table
	names     *nameserver.Server // nil: none
	settings  *provision.Server  // of phones; nil: none
	dhcp      *dhcp.Server       // nil without that role
	wires     *wires             // of dhcp
	leases    registrar.Leases   // of our DHCP server; nil: none
}

// New opens the office's file and wires its parts; nothing runs and no port is bound yet. The caller
// calls Run, or Close when it does not.
func New(cfg Config, log zerolog.Logger) (o *Office, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o = &Office{cfg: cfg, made: time.Now(), ready: make(chan struct{}), metrics: &metric.Set{}}
	o.log = log.With().Str("office", string(cfg.Office)).Logger()
	defer func() {
		if err != nil {
			o.Close()
			err = fmt.Errorf("office %s: %w", cfg.Office, err)
		}
	}()
	if o.partners, err = newPartners(cfg); err != nil {
		return nil, err
	}
	if err := o.partners.keyLog(o.log); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return nil, err
	}
	if o.file, err = store.Open(filepath.Join(cfg.State, "office.db"), registrar.Schema, billing.Schema, edge.Schema, dhcp.Schema, provision.Schema, schema); err != nil {
		return nil, err
	}
	return o, o.wire(cfg)
}

// wire makes the engines, then the roles, and hands each its neighbours.
func (o *Office) wire(cfg Config) (err error) {
	names, card := names(cfg), card(cfg)
	o.file.Measure(o.metrics)
	o.loop = loop.New(loopQueue, loopAsks)
	o.watch()
	tc, err := transportConfig(cfg, o.partners, o.file.Boot())
	if err != nil {
		return err
	}
	o.transport = transport.New(tc, o.partners.identify, o.metrics, o.log)
	o.layer = transaction.NewLayer(o.loop, o.transport, o.metrics, o.log)
	o.loop.EachTurn(o.transport.Flush)
	if o.routes, err = routesrv.New(cfg.Routes, o.loop, card, cfg.node(o.file.Node()), o.file.Boot(), o.metrics, o.log); err != nil {
		return err
	}
	if err := o.newDHCP(cfg); err != nil {
		return err
	}
	switch {
	case !cfg.split():
		err = o.allInOne(cfg, names, card)
	case cfg.has("registrar"):
		err = o.registrarAlone(cfg, names, card)
	default:
		err = o.switchAlone(cfg, names)
	}
	if err != nil {
		return err
	}
	if cfg.NameServer.On() {
		o.names = nameserver.New(cfg.nameServer(), o.metrics, o.log)
		o.nameZone()
	}
	if err := o.provisioning(cfg); err != nil {
		return err
	}
	o.watchLeases()
	o.layer.First(o.transport.Vouched, o.isEmergency)
	o.measure()
	return o.recall(context.Background())
}

// Name is the office's id.
func (o *Office) Name() string { return string(o.cfg.Office) } // Reload never changes it

// Metrics is what the office has counted.
func (o *Office) Metrics() *metric.Set { return o.metrics }

// Ready is closed when phones are served.
func (o *Office) Ready() <-chan struct{} { return o.ready }

// Addrs is every bound listener once Ready, as Config writes it.
func (o *Office) Addrs() []string { return o.transport.Addrs() }

// Tap has every SIP message shown to tap until stop is called; see [transport.Tap].
func (o *Office) Tap(tap transport.Tap) (stop func()) { return o.transport.Tap(tap) }

// Config is the configuration in force.
func (o *Office) Config() Config {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cfg
}

// zone is the timezone of listings.
func (o *Office) zone() string {
	cfg := o.Config()
	return cfg.Zone().String()
}

// Close gives back what New took, when Run is not called or has returned.
func (o *Office) Close() error {
	if o.relay != nil {
		o.relay.Close()
	}
	if o.file != nil {
		return o.file.Close()
	}
	return nil
}

// watch counts turns over 5 ms, logs those over 50 ms, and keeps a panic to the turn it happened in.
func (o *Office) watch() {
	slow := o.metrics.Counter("slow_turns_total", "Turns of the loop that took more than 5 ms.").With()
	panics := o.metrics.Counter("panics_total", "Panics caught: each is a bug of ours.").With()
	o.loop.Watch(func(took time.Duration) {
		if took > 5*time.Millisecond {
			slow.Add(1)
		}
		if took > 50*time.Millisecond {
			o.log.Warn().Str("event", "loop.slow").Int64("dur_ms", took.Milliseconds()).Msg("long turn of the loop")
		}
	}, func(v any, stack []byte) {
		panics.Add(1)
		o.log.Error().Str("event", "loop.panic").Str("err", fmt.Sprint(v)).Str("stack", string(stack)).Msg("panic caught")
	})
}

// names is every host that means us: the domain first, then aliases and our own addresses.
func names(cfg Config) []string {
	all := append([]string{cfg.Domain}, cfg.Aliases...)
	if u, err := sip.ParseURI([]byte(cfg.URI)); err == nil {
		all = append(all, u.Host)
	}
	all = append(all, cfg.Processes.hosts()...)
	if cfg.Advertise.IsValid() {
		all = append(all, cfg.Advertise.String())
	}
	for _, l := range slices.Concat(cfg.Listen, []string{cfg.PartnerListen}) {
		if _, addr, err := splitListen(l); err == nil {
			all = append(all, hostsOf(addr.Addr())...)
		}
	}
	for _, p := range cfg.foreign() {
		all = append(all, hostsOf(p.Foreign.Listen.Addr())...)
	}
	var distinct []string
	for _, n := range all {
		if n = hostText(n); !slices.Contains(distinct, n) {
			distinct = append(distinct, n)
		}
	}
	return distinct
}

// served asks the registrar, which is made later than the ledger.
func (o *Office) served(ctx context.Context, user roam.UserID, at roam.OfficeID, when time.Time) (bool, error) {
	return o.reg.Served(ctx, user, at, when)
}
