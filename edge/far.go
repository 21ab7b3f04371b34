package edge

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// Directory is the registrar's users, as they are told to the softswitches.
type Directory interface {
	Line(roam.UserID) (line roam.Line, found bool)
	Names(roam.UserID) []string                          // what our own user is called besides
	Everybody(after roam.UserID, most int) []roam.UserID // subscribers and visitors, in order
}

// Registrar takes what phones say by way of a softswitch.
type Registrar interface {
	transaction.Handler
	Authenticate(req *sip.Message, user roam.UserID, done func(roam.UserID, error))
	Whose(f *sip.Flow, claims []sip.AOR) (user roam.UserID, found, many bool)
}

// Flows is told what has become of phones' flows; the registrar.
type Flows interface {
	Closed(f *sip.Flow)
	Silent(f roam.Flow)
}

// FarConfig is what Far needs of office.yaml.
type FarConfig struct {
	Office   roam.OfficeID
	URI      string    // ours
	Switches []Process // of the office, in the order in which phones are to try them
	Boot     uint64

	Card        func() roam.Card
	Provisional func(roam.UserID) bool // home has not recorded the user's visit yet
}

// Far is the softswitch of the office as the registrar of this process sees it. Its methods run on the loop.
type Far struct {
	cfg   FarConfig
	loop  *loop.Loop
	tl    *transaction.Layer
	dir   Directory
	reg   Registrar
	flows Flows
	log   zerolog.Logger

	boot     uint64 // ours, or higher when a softswitch has heard from us under a higher one
	switches []*remote
	pushing  bool // push is due at the end of the turn

	redirected *metric.Counter
}

// remote is one softswitch.
type remote struct {
	Process
	up    bool
	lost  bool        // it was up, or had the time to come up, and is not
	alive atomic.Bool // up, for the gauge
	heard time.Time   // its last roam-edge; before the first, our start
	boot  uint64
	calls int
	full  bool

	told    mark                   // the last message that it took
	checked mark                   // what that was when it said something last: it cannot have less now
	all     bool                   // everything is being told
	cursor  roam.UserID            // how far
	dirty   []roam.UserID          // to be told again
	marked  map[roam.UserID]bool   // those of dirty
	put     map[roam.UserID]bool   // those of dirty that were put off while everything is told: it is not whole without them
	sent    map[roam.UserID]uint64 // hash of what it was told, of users it knows
	flying  bool                   // a message is on its way
	flight  map[roam.UserID]uint64 // the users it tells of

	released []released
	charged  []roam.Flow
	started  []started
	card     uint64 // hash of the card that it was told
}

// NewFar makes Far. Serve must be called with the registrar before the first request.
func NewFar(cfg FarConfig, l *loop.Loop, tl *transaction.Layer, m *metric.Set, log zerolog.Logger) *Far {
	f := &Far{cfg: cfg, loop: l, tl: tl, log: log, boot: cfg.Boot}
	for _, p := range cfg.Switches {
		f.switches = append(f.switches, &remote{Process: p, heard: l.Now(), marked: map[roam.UserID]bool{}, sent: map[roam.UserID]uint64{}, put: map[roam.UserID]bool{}})
	}
	f.redirected = m.Counter("edge_redirected_total", "Phones that were sent to another softswitch of this office.", "from")
	m.Gauge("edge_up", "1 while a softswitch process gives signs of life.", []string{"softswitch"}, func(emit func(float64, ...string)) {
		for _, r := range f.switches {
			up := 0.0
			if r.alive.Load() {
				up = 1
			}
			emit(up, string(r.ID))
		}
	})
	l.After(helloEvery, f.look)
	return f
}

// Serve hands over the registrar, which needs Far to be made first.
func (f *Far) Serve(d Directory, r Registrar, flows Flows) { f.dir, f.reg, f.flows = d, r, flows }

// from is the softswitch at the other end of flow, nil for anybody else.
func (f *Far) from(flow *sip.Flow) *remote {
	for _, r := range f.switches {
		if r.is(flow, f.cfg.Office) {
			return r
		}
	}
	return nil
}

// of is the softswitch id.
func (f *Far) of(id roam.SwitchID) *remote {
	for _, r := range f.switches {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// ServeSIP takes a softswitch's roam-edge and what it hands on; everything else is the registrar's.
func (f *Far) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	ours := req.Flow.Partner != "" && req.Flow.Partner == f.cfg.Office
	switch {
	case req.Method() == sip.NOTIFY:
		r := f.from(req.Flow)
		if r == nil {
			return f.stranger(req)
		}
		return f.hello(tx, req, r)
	case req.Method() == sip.REGISTER && ours:
		r := f.from(req.Flow)
		if r == nil {
			return f.stranger(req)
		}
		return f.register(tx, req, r)
	}
	return f.reg.ServeSIP(tx, req)
}

// stranger refuses what only our own softswitches may say.
func (f *Far) stranger(req *sip.Message) error {
	f.log.Warn().Str("event", "edge.refused").Str("peer", string(req.Flow.Partner)).Strs("names", req.Flow.Names).
		Str("method", req.MethodText()).Msg("not one of our softswitches")
	return roam.NotAllowed
}

// register is a REGISTER that a softswitch hands on: the registrar gets it as if the phone had come here.
func (f *Far) register(tx *transaction.Server, req *sip.Message, r *remote) error {
	flow, err := readFlow(string(req.Other(flowField)))
	if err != nil {
		return err
	}
	if flow.Edge != r.ID {
		return f.stranger(req)
	}
	if req.Value(sip.RoamDigest) != nil {
		return f.authenticate(tx, req, flow)
	}
	if a, err := sip.ParseAddress(req.Value(sip.Path)); err != nil || a.URI.User == "" {
		return roam.BadRequest
	}
	if to := f.better(r, req, flow); to != nil {
		f.redirected.Add(1, string(r.ID))
		return tx.Reply(302, sip.Field{Name: sip.Contact, Value: "<" + to.Phones + ">"})
	}
	tx.From(flow)
	return f.reg.ServeSIP(tx, req)
}

// better is the softswitch where a phone that comes to r anew should go instead (RFC 3261 8.1.3.4, 21.3.3): r is full or
// about to stop, and another is not. A phone that is here already stays, and so does one that takes leave.
func (f *Far) better(r *remote, req *sip.Message, flow *sip.Flow) *remote {
	if !r.full || !adds(req) {
		return nil
	}
	if _, found, many := f.reg.Whose(flow, nil); found || many {
		return nil
	}
	for _, o := range f.living() {
		if o != r && !o.full && o.Phones != "" {
			return o
		}
	}
	return nil
}

// authenticate has the registrar check a caller's credentials: it sees the request that carried them.
func (f *Far) authenticate(tx *transaction.Server, req *sip.Message, flow *sip.Flow) error {
	method, params, _ := strings.Cut(string(req.Value(sip.RoamDigest)), ";")
	uri, _ := sip.Params(params).Get("uri")
	to, err := req.To()
	if err != nil {
		return err
	}
	aor, err := to.URI.AOR()
	if err != nil {
		return err
	}
	var w sip.Writer
	w.Request(strings.TrimSpace(method), uri)
	for _, n := range [...]sip.Name{sip.From, sip.To, sip.CallID} {
		w.Copy(req, n)
	}
	w.Add(sip.CSeq, "1 "+strings.TrimSpace(method))
	w.Copy(req, sip.ProxyAuthorization)
	if err := w.End("", nil); err != nil {
		return roam.BadRequest
	}
	asked := &sip.Message{}
	if err := sip.Parse(w.AppendWithVia(nil, []byte("SIP/2.0/"+flow.Transport.String()+" "+flow.Remote.String()+";branch="+sip.Cookie+transaction.NewTag())), asked); err != nil {
		return roam.BadRequest
	}
	asked.Flow = flow
	tx.Hold()
	f.reg.Authenticate(asked, roam.UserID(aor), func(_ roam.UserID, err error) {
		if err != nil {
			tx.Refuse(err)
			return
		}
		_ = tx.Reply(200)
	})
	return nil
}
