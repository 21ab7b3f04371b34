package edge

import (
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// mostNews is how many flows one roam-edge names; the rest go with the next one.
const mostNews = 200

// sayIn has roam-edge said after d, unless it is said before; then it is due again after helloEvery.
func (n *Near) sayIn(d time.Duration) {
	n.next.Stop()
	if !n.stopping {
		n.next = n.loop.After(d, n.say)
	}
}

// say sends roam-edge; while one is under way the next follows it.
func (n *Near) say() {
	if n.saying {
		n.again = true
		return
	}
	n.saying, n.again = true, false
	n.next.Stop()
	calls, full := n.sw.Load()
	d := edgeDoc{Version: docVersion, ID: n.cfg.Self.ID, Boot: n.cfg.Boot, Calls: calls, Full: full, Have: n.have,
		Closed: some(n.closed), Silent: some(n.silent), Stopping: n.stopping}
	body := encode(d)
	n.ask(func(w *sip.Writer) error {
		addressed(w, "NOTIFY", n.cfg.Registrar.URI, n.cfg.Self.URI, n.cfg.Registrar.URI)
		w.Add(sip.Event, EdgeEvent)
		w.Add(sip.SubscriptionState, "active")
		w.Add(sip.Contact, "<"+n.cfg.Self.URI+">")
		return w.End(bodyType, body)
	}, func(res *sip.Message, err error) {
		n.saying = false
		n.sayIn(helloEvery)
		if n.unheard = err != nil || res.Status()/100 != 2; n.unheard {
			n.silence(res, err)
			n.sayIn(helloAgain) // a registrar that has started again must soon know us
			return
		}
		n.alive()
		for _, f := range d.Closed {
			delete(n.closed, f)
		}
		for _, f := range d.Silent {
			delete(n.silent, f)
		}
		if n.again || len(n.closed)+len(n.silent) > 0 {
			n.say()
		}
	})
}

// some is up to mostNews of set.
func some(set map[roam.Flow]bool) (fs []roam.Flow) {
	for f := range set {
		if fs = append(fs, f); len(fs) == mostNews {
			break
		}
	}
	return fs
}

// silence is what to make of a registrar that did not answer as it should.
func (n *Near) silence(res *sip.Message, err error) {
	if n.loop.Now().Sub(n.heard) < awayAfter-helloEvery || n.away {
		return
	}
	n.away = true
	n.gone.Store(true)
	e := n.log.Warn().Str("event", "edge.away").Err(err)
	if res != nil {
		e.Int("status", res.Status())
	}
	e.Msg("registrar does not answer: calls go on, phones that are known stay, others are refused")
}

// Closed notes that a connection has ended: a phone's, or the registrar's.
func (n *Near) Closed(f *sip.Flow) {
	if n.cfg.Registrar.is(f, n.cfg.Office) {
		n.unheard = true
		n.sayIn(helloAgain)
	}
	if len(n.flows[f.Flow]) > 0 {
		n.closed[f.Flow] = true
		n.say()
	}
}

// Silent notes that nobody answers behind f any more (METHOD M12).
func (n *Near) Silent(f roam.Flow) {
	if len(n.flows[f]) > 0 {
		n.silent[f] = true
		n.say()
	}
}

// Stop says that this softswitch is about to end: its phones are better off elsewhere.
func (n *Near) Stop() {
	n.stopping = true
	n.say()
}

// ask sends a request to the registrar; done comes once, with a final response, or an error when none came in time.
func (n *Near) ask(build func(*sip.Writer) error, done func(*sip.Message, error)) {
	over := false
	once := func(res *sip.Message, err error) {
		if over || res != nil && res.Status() < 200 {
			return
		}
		over = true
		done(res, err)
	}
	late := n.loop.After(patience, func() { once(nil, roam.Timeout) })
	n.tl.Request(transaction.Destination{URI: n.to}, func(w *sip.Writer, f *sip.Flow) error {
		if !n.cfg.Registrar.is(f, n.cfg.Office) {
			return errWrongProcess
		}
		return build(w)
	}, func(res *sip.Message, err error) {
		if res == nil || res.Status() >= 200 {
			late.Stop()
		}
		once(res, err)
	})
}

// forgetFlow takes f out of what the registrar is to hear: its phone has spoken.
func (n *Near) forgetFlow(f roam.Flow) { delete(n.silent, f) }
