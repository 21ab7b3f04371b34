package office

import (
	"context"
	"errors"
	"fmt"

	"github.com/siproam/siproam/billing"
	"github.com/siproam/siproam/edge"
	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/softswitch"
	"github.com/siproam/siproam/web"
)

// What of an office another process has.
var (
	errNoRegistrar = errors.New("the users of this office are with its registrar process: ask that one")
	errNoSwitch    = errors.New("the calls of this office are with its softswitch processes: ask one of them")
)

// supported is the option tags that Require may name: not path, replaces nor timer, for nobody here does what they promise.
const supported = "outbound"

// allInOne has registrar and softswitch in this process, each the other's neighbour.
func (o *Office) allInOne(cfg Config, names []string, card roam.Card) (err error) {
	o.ledger = billing.New(cfg.Office, o.loop, o.file, o.routes, o.served, o.metrics, o.log)
	if err := o.newSwitch(cfg); err != nil {
		return err
	}
	if o.reg, err = registrar.New(registrarConfig(cfg, names, card), o.loop, o.layer, o.file, o.sw, o.routes, o.leases, o.metrics, o.log); err != nil {
		return err
	}
	if err := o.serveStore(); err != nil {
		return err
	}
	o.reg.OnStarted(o.ledger.Again)
	o.ledger.Homes(cfg.partners()...)
	o.ledger.Hold(o.reg.Provisional)
	o.layer.OnClosed(o.reg.Closed)
	o.reg.OnBound(o.bound)
	o.reg.OnBehind(o.sw.WatchBehind)
	o.sw.OnSilent(o.reg.Silent)
	o.sw.OnLost(o.reg.Lost)
	o.reg.OnFailed(func(f roam.Flow) { o.transport.Charge(f, guess) })
	m := transaction.NewMux(supported)
	handle(m, o.reg, "", sip.REGISTER, sip.OPTIONS)
	o.registrarNotices(m)
	o.sw.Knows(o.reg)
	o.loop.After(0, func() { o.reg.EachServed(o.sw.Took) }) // what the file has; after the registrar's own first turn
	o.serveCalls(m, o.reg)
	return nil
}

// registrarAlone has the registrar here: its softswitches are other processes, for which Far stands in.
func (o *Office) registrarAlone(cfg Config, names []string, card roam.Card) (err error) {
	o.ledger = billing.New(cfg.Office, o.loop, o.file, o.routes, o.served, o.metrics, o.log)
	fc := edge.FarConfig{Office: cfg.Office, URI: cfg.URI, Boot: o.file.Boot(),
		Card: func() roam.Card { return o.reg.Card() }, Provisional: func(u roam.UserID) bool { return o.reg.Provisional(u) }}
	var senders []roam.OfficeID
	for _, p := range cfg.Processes.Softswitches {
		fc.Switches = append(fc.Switches, p.edge())
		senders = append(senders, roam.OfficeID(p.ID))
	}
	o.ledger.Softswitches(senders...)
	o.far = edge.NewFar(fc, o.loop, o.layer, o.metrics, o.log)
	if o.reg, err = registrar.New(registrarConfig(cfg, names, card), o.loop, o.layer, o.file, o.far, o.routes, o.leases, o.metrics, o.log); err != nil {
		return err
	}
	o.far.Serve(o.reg, o.reg, o.reg)
	if err := o.serveStore(); err != nil {
		return err
	}
	o.reg.OnStarted(o.far.Started)
	o.reg.OnChanged(o.far.Changed)
	o.reg.OnFailed(o.far.Failed)
	m := transaction.NewMux(supported)
	handle(m, o.far, "", sip.REGISTER)
	handle(m, o.far, edge.EdgeEvent, sip.NOTIFY)
	handle(m, o.reg, "", sip.OPTIONS)
	o.registrarNotices(m)
	o.layer.Handle(m)
	return nil
}

// switchAlone has a softswitch here: the registrar is another process, for which Near stands in.
func (o *Office) switchAlone(cfg Config, names []string) (err error) {
	self := cfg.self()
	o.ledger = billing.New(roam.OfficeID(self.ID), o.loop, o.file, outbox{o.routes}, nobodys, o.metrics, o.log)
	if err := o.newSwitch(cfg); err != nil {
		return err
	}
	nc := edge.NearConfig{Office: cfg.Office, Names: names, Self: self.edge(), Registrar: cfg.Processes.Registrar.edge(), Boot: o.file.Boot()}
	for _, p := range cfg.Processes.Softswitches {
		if p.ID != self.ID {
			nc.Others = append(nc.Others, p.edge())
		}
	}
	if o.near, err = edge.NewNear(nc, o.loop, o.layer, o.file, o.sw, o.metrics, o.log); err != nil {
		return err
	}
	o.ledger.Homes(append(cfg.partners(), cfg.Office)...)
	o.ledger.Hold(o.near.Provisional)
	o.near.OnStarted(o.ledger.Again)
	o.routes.Probe(o.near.Answers)
	o.routes.OnLost(o.ledger.Lost)
	o.layer.OnClosed(o.near.Closed)
	o.near.OnBound(o.bound)
	o.sw.OnSilent(o.near.Silent)
	o.near.OnFailed(func(f roam.Flow) { o.transport.Charge(f, guess) })
	m := transaction.NewMux(supported)
	handle(m, o.near, "", sip.REGISTER, sip.OPTIONS)
	handle(m, o.near, edge.LinesEvent, sip.NOTIFY)
	handle(m, o.near, edge.ServeEvent, sip.NOTIFY)
	card := card(cfg)
	o.sw.Knows(o.readPublished(card.Ranges))
	o.serveCalls(m, o.near)
	return nil
}

// serveStore has the registrar answer for what the routing store holds of us, and hear of what it says of others.
func (o *Office) serveStore() error {
	o.routes.Owned(o.reg.Owned, o.reg.Ahead)
	o.routes.Guests(o.reg.Guests)
	o.routes.Probe(o.reg.Answers)
	o.routes.OnReturn(o.reg.Returned)
	o.routes.OnLost(o.ledger.Lost)
	if o.cfg.Routes.Signed() {
		o.routes.Trusting(o.reg.Trusts)
	}
	written, err := o.ledger.Written(context.Background())
	o.reg.Since(written)
	return err
}

// newSwitch makes the softswitch with its media.
func (o *Office) newSwitch(cfg Config) (err error) {
	if o.relay, err = media.New(mediaConfig(cfg), o.metrics, o.log); err != nil {
		return err
	}
	o.sw = softswitch.New(o.switchConfig(cfg), o.loop, o.layer, o.routes, o.relay, o.ledger, o.metrics, o.log)
	return nil
}

// bound is told that a flow begins or ceases to carry bindings.
func (o *Office) bound(f roam.Flow, carries bool) {
	o.transport.Vouch(f, carries)
	if !o.transport.OfForeign(f) { // its phones are asked one by one
		o.sw.Watch(f, carries)
	}
}

// serveCalls gives the softswitch its registrar d, and what m has no other role for; what belongs to a dialog never gets to m.
func (o *Office) serveCalls(m *transaction.Mux, d softswitch.Directory) {
	handle(m, o.sw, "", sip.INVITE, sip.MESSAGE, sip.INFO)
	o.table = dialog.New(o.loop, o.layer, m, o.log)
	o.table.Require(m.Required)
	o.sw.Serve(d, o.table)
	o.layer.Handle(o.table)
}

// registrarNotices is what registrars tell each other.
func (o *Office) registrarNotices(m *transaction.Mux) {
	handle(m, o.reg, "reg", sip.NOTIFY)
	handle(m, o.reg, "ua-profile", sip.NOTIFY)
	handle(m, o.reg, "roam-start", sip.NOTIFY)
}

func handle(m *transaction.Mux, h transaction.Handler, event string, methods ...sip.Method) {
	for _, method := range methods {
		m.Handle(method, event, h)
	}
}

// registrar is the registrar of this office, if it is in this process.
func (o *Office) registrar() (*registrar.Server, error) {
	if o.reg == nil {
		return nil, fmt.Errorf("office %s: %w", o.Name(), errNoRegistrar)
	}
	return o.reg, nil
}

// list is who is registered, as the registrar has it; nobody where that is another process.
func (o *Office) list(ctx context.Context, after roam.UserID, max int) ([]registrar.Status, error) {
	if o.reg == nil {
		return nil, nil
	}
	return o.reg.List(ctx, after, max)
}

// inProgress is the calls in progress; none where the softswitch is another process.
func (o *Office) inProgress(ctx context.Context) ([]softswitch.CallView, error) {
	if o.sw == nil {
		return nil, nil
	}
	return o.sw.Calls(ctx)
}

// otherProcesses says of each other process of this office that ours works with whether it is there. It runs on the loop.
func (o *Office) otherProcesses() (all []web.Part) {
	if o.near != nil {
		p := web.Part{Name: "registrar", OK: !o.near.Away()}
		if !p.OK {
			p.Detail = "does not answer: calls go on, phones that are known stay"
		}
		return []web.Part{p}
	}
	for _, s := range o.softswitches() {
		p := web.Part{Name: "softswitch " + s.ID, OK: s.Up}
		switch {
		case !s.Up:
			p.Detail = "gives no sign of life"
		case s.Full:
			p.Detail = "takes no new phones"
		}
		all = append(all, p)
	}
	return all
}

// softswitches is those of this office, in the order in which phones should try them. It runs on the loop.
func (o *Office) softswitches() (all []web.Softswitch) {
	if o.far == nil {
		return nil
	}
	for _, v := range o.far.Switches() {
		all = append(all, web.Softswitch{ID: string(v.ID), Phones: v.Phones, Up: v.Up, Full: v.Full, Calls: v.Calls})
	}
	return all
}
