package softswitch

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// Offline detection (METHOD M12): the switch that serves a phone asks it now and then by OPTIONS down its flow; any
// answer is a sign of life. One that says nothing for the whole of a transaction (Timer F, 32 s) is gone.
//
// It asks flows, not bindings: a proxy in front of a hundred phones is asked once. All intervals are about the same,
// so the queue is in order of time without a timer for each.

// probeTick is how often the queue is looked at, and probesAtOnce how many are asked then.
const (
	probeTick    = time.Second
	probesAtOnce = 500
)

// way is a flow, or behind a foreign front one phone (RFC 3327): the front's own flow says nothing of it.
type way struct {
	flow  roam.Flow
	uri   string
	route string // Path, its values one behind the other
}

// prober is the flows to be asked, first the next.
type prober struct {
	flows   map[way]uint64 // and the turn that counts: an older one is of a flow that went and came back
	queue   []probe
	turn    uint64
	ticking bool
	silent  func(f roam.Flow)
	lost    func(t roam.Target)
}

type probe struct {
	flow way
	turn uint64
	at   time.Time
}

// OnSilent says who is told of a flow behind which nobody answers any more.
func (s *Switch) OnSilent(fn func(f roam.Flow)) { s.probes.silent = fn }

// OnLost says who is told of a phone behind a front that does not answer any more.
func (s *Switch) OnLost(fn func(t roam.Target)) { s.probes.lost = fn }

// Watch begins to ask a flow, or ends it: the flow carries bindings, or none any more.
func (s *Switch) Watch(f roam.Flow, carries bool) { s.watch(way{flow: f}, carries) }

// WatchBehind is Watch for one phone behind a front.
func (s *Switch) WatchBehind(t roam.Target, carries bool) {
	s.watch(way{t.Flow, t.URI, strings.Join(t.Route, pathEnd)}, carries)
}

const pathEnd = "\n" // in no header field

func (s *Switch) watch(f way, carries bool) {
	p := &s.probes
	if !carries {
		delete(p.flows, f)
		return
	}
	if s.cfg.Probe <= 0 {
		return
	}
	if p.flows == nil {
		p.flows = map[way]uint64{}
	}
	p.turn++
	p.flows[f] = p.turn
	s.askLater(f, p.turn)
}

// askLater puts f at the end of the queue; the jitter keeps phones that came together from being asked together.
func (s *Switch) askLater(f way, turn uint64) {
	p := &s.probes
	at := s.loop.Now().Add(s.cfg.Probe - time.Duration(rand.Int64N(int64(s.cfg.Probe)/5+1)))
	p.queue = append(p.queue, probe{f, turn, at})
	if !p.ticking {
		p.ticking = true
		s.loop.After(probeTick, s.probe)
	}
}

// probe asks those whose time has come.
func (s *Switch) probe() {
	p := &s.probes
	n := 0
	for ; n < len(p.queue) && n < probesAtOnce && !p.queue[n].at.After(s.loop.Now()); n++ {
		if q := p.queue[n]; p.flows[q.flow] == q.turn && s.draining == nil {
			s.ask(q.flow, q.turn)
		}
	}
	p.queue = append(p.queue[:0], p.queue[n:]...)
	if p.ticking = len(p.queue) > 0; p.ticking {
		s.loop.After(probeTick, s.probe)
	}
}

// ask sends one OPTIONS down f.
func (s *Switch) ask(f way, turn uint64) {
	t := roam.Target{Flow: f.flow, URI: "sip:" + f.flow.Remote.String()}
	if f.uri != "" {
		t.URI, t.Route = f.uri, strings.Split(f.route, pathEnd)
	}
	end := func(res *sip.Message, err error) {
		p := &s.probes
		switch {
		case p.flows[f] != turn: // it carries nothing any more
		case err == nil && !silentBehind(res, f):
			s.count.probes.Add(1, "answered")
			if s.cfg.Probe > 0 {
				s.askLater(f, turn)
			}
		case errors.Is(err, roam.TooBusy): // we are: that says nothing of the phone
			s.askLater(f, turn)
		default:
			s.count.probes.Add(1, "silent")
			s.log.Info().Str("event", "phone.silent").Str("remote_ip", f.flow.Remote.Addr().Unmap().String()).Uint16("remote_port", f.flow.Remote.Port()).
				Str("contact", f.uri).Msg("phone does not answer any more")
			delete(p.flows, f)
			if f.uri != "" {
				p.lost(t)
			} else {
				p.silent(f.flow)
			}
		}
	}
	to, err := s.tl.Target(t)
	if err != nil { // the connection ended
		end(nil, err)
		return
	}
	callID := transaction.NewTag()
	s.tl.Request(to, func(w *sip.Writer, f *sip.Flow) error {
		w.Request("OPTIONS", t.URI)
		w.AddInt(sip.MaxForwards, 70)
		for _, r := range t.Route {
			w.Add(sip.Route, r)
		}
		w.Add(sip.From, "<sip:"+f.Here+">;tag="+transaction.NewTag())
		w.Add(sip.To, "<"+t.URI+">")
		w.Add(sip.CallID, callID)
		w.Add(sip.CSeq, "1 OPTIONS")
		w.Add(sip.Contact, "<sip:"+f.Here+">")
		w.Add(sip.Accept, sdpType)
		return w.End("", nil)
	}, func(res *sip.Message, err error) {
		if res == nil || res.Status() >= 200 {
			end(res, err)
		}
	})
}

// silentBehind says that res, which came by f, means that the phone was not reached: 408 from whoever stands between, and
// from a front that it has no way to it any more (RFC 5626 5.3.1).
func silentBehind(res *sip.Message, f way) bool {
	return res.Status() == 408 || f.uri != "" && res.Status() == 430
}
