package edge

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/store"
)

// Schema is Near's table: the key of its flows' names, which outlive the process as its UDP flows do.
var Schema = store.Schema{Role: "edge", Steps: []string{
	`CREATE TABLE edge_key (one INTEGER PRIMARY KEY CHECK (one = 1), value BLOB NOT NULL) STRICT`,
}}

// Softswitch is the one beside Near.
type Softswitch interface {
	Allocate(line roam.Line, done func(roam.Refusal))
	Release(user roam.UserID, device roam.Device, gone roam.Location)
	Load() (calls int, full bool)
}

// NearConfig is what Near needs of office.yaml.
type NearConfig struct {
	Office    roam.OfficeID
	Names     []string  // hosts that mean us: domain first
	Self      Process   // this softswitch
	Others    []Process // the other ones of the office
	Registrar Process
	Boot      uint64
}

// Near is the registrar as the softswitch of this process sees it. Its methods run on the loop.
type Near struct {
	cfg   NearConfig
	hosts map[string]bool
	uris  map[roam.SwitchID]string // of the other softswitches
	to    sip.URI                  // the registrar
	loop  *loop.Loop
	tl    *transaction.Layer
	sw    Softswitch
	marks *seal.Marks
	log   zerolog.Logger

	have    mark
	card    *roam.Card
	lines   map[roam.UserID]*entry
	names   map[string]roam.UserID // what our own users are called
	numbers map[string]roam.UserID // of visitors
	flows   map[roam.Flow]map[roam.UserID]bool

	onBound  func(f roam.Flow, carries bool)
	onFailed func(roam.Flow)

	onStarted func(o roam.OfficeID, t time.Time)
	whole     func()                 // nil, or to be called when everything has been told
	waits     map[roam.Flow][]func() // answers that wait for their flow to be known

	closed, silent map[roam.Flow]bool // the registrar has not heard of it yet
	saying         bool               // a roam-edge is under way
	again          bool               // and there is more to say
	next           *loop.Timer        // of the next one
	unheard        bool               // the registrar did not answer the last one
	away           bool               // nor has it answered anything for a while
	heard          time.Time          // from the registrar, last
	stopping       bool
	under          int // requests handed on, and not answered yet

	owed struct {
		sync.Mutex                      // guards users
		users      map[roam.UserID]bool // provisional visitors
	}
	gone atomic.Bool // away, for the gauge

	forwarded *metric.Counter
}

// NewNear makes Near; sw is told what the registrar orders. f must have been opened with Schema. Nothing is said
// before Start.
func NewNear(cfg NearConfig, l *loop.Loop, tl *transaction.Layer, f *store.File, sw Softswitch, m *metric.Set, log zerolog.Logger) (*Near, error) {
	to, err := sip.ParseURI([]byte(cfg.Registrar.URI))
	if err != nil {
		return nil, err
	}
	key, err := loadKey(context.Background(), f)
	if err != nil {
		return nil, err
	}
	n := &Near{cfg: cfg, to: to, loop: l, tl: tl, sw: sw, marks: seal.NewMarks(key), log: log, hosts: map[string]bool{}, uris: map[roam.SwitchID]string{},
		lines: map[roam.UserID]*entry{}, names: map[string]roam.UserID{}, numbers: map[string]roam.UserID{}, flows: map[roam.Flow]map[roam.UserID]bool{},
		onBound: func(roam.Flow, bool) {}, onFailed: func(roam.Flow) {}, onStarted: func(roam.OfficeID, time.Time) {}, waits: map[roam.Flow][]func(){}, closed: map[roam.Flow]bool{}, silent: map[roam.Flow]bool{}}
	n.owed.users = map[roam.UserID]bool{}
	for _, h := range cfg.Names {
		n.hosts[h] = true
	}
	for _, o := range cfg.Others {
		n.uris[o.ID] = o.URI
	}
	n.forwarded = m.Counter("edge_forwarded_total", "Requests handed on to the registrar process, by what came of them.", "result")
	m.Gauge("edge_registrar_up", "1 while the registrar process answers.", nil, func(emit func(float64, ...string)) { emit(n.gauge()) })
	return n, nil
}

// loadKey reads the key, or makes it.
func loadKey(ctx context.Context, f *store.File) (key []byte, err error) {
	rows, err := f.Query(ctx, `SELECT value FROM edge_key`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil || len(key) == 32 {
		return key, err
	}
	key = make([]byte, 32)
	rand.Read(key) // never fails (crypto/rand)
	return key, f.Write(store.Write{Change: func(tx store.Tx) error {
		_, err := tx.Exec(`INSERT INTO edge_key VALUES (1, ?) ON CONFLICT DO UPDATE SET value = excluded.value`, key)
		return err
	}})
}

// OnBound has fn told when a flow begins to carry bindings, and when it carries none any more.
func (n *Near) OnBound(fn func(f roam.Flow, carries bool)) { n.onBound = fn }

// OnFailed has fn told of each flow of a phone that gave wrong credentials.
func (n *Near) OnFailed(fn func(f roam.Flow)) { n.onFailed = fn }

// OnStarted has fn told of each home that has started from an older file: charging records may have to go there again.
func (n *Near) OnStarted(fn func(o roam.OfficeID, t time.Time)) { n.onStarted = fn }

// Start begins to talk to the registrar; whole is called once it has told everything.
func (n *Near) Start(whole func()) {
	n.whole = whole
	n.say()
}

// ServeSIP takes a phone's REGISTER, another office's question for the card, and what the registrar says.
func (n *Near) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	switch req.Method() {
	case sip.REGISTER:
		if req.Flow.Partner != "" {
			return &sip.Refused{Why: roam.NotAllowed, Reason: "The Registrar Is Elsewhere"} // as the card says
		}
		return n.register(tx, req)
	case sip.OPTIONS:
		return n.options(tx, req)
	case sip.NOTIFY:
		if !n.cfg.Registrar.is(req.Flow, n.cfg.Office) {
			n.log.Warn().Str("event", "edge.refused").Str("peer", string(req.Flow.Partner)).Strs("names", req.Flow.Names).Msg("orders that are not our registrar's")
			return roam.NotAllowed
		}
		n.alive()
		if isEvent(req, ServeEvent) {
			return n.serve(tx, req)
		}
		return n.lists(tx, req)
	}
	return roam.BadRequest
}

// Away says that the registrar does not answer.
func (n *Near) Away() bool { return n.away }

func (n *Near) gauge() float64 {
	if n.gone.Load() {
		return 0
	}
	return 1
}

// Provisional says that home has not recorded user's visit yet (M9): charging records wait until it has. It may be asked
// from anywhere.
func (n *Near) Provisional(user roam.UserID) bool {
	n.owed.Lock()
	defer n.owed.Unlock()
	return n.owed.users[user]
}

// Counts is how many users and flows we know, for people.
func (n *Near) Counts() (users, flows int) { return len(n.lines), len(n.flows) }

// alive notes a sign of life of the registrar. One that did not take our last word may have started anew, and tells us
// nothing before it knows that we are here.
func (n *Near) alive() {
	n.heard = n.loop.Now()
	if n.unheard {
		n.unheard = false
		n.say()
	}
	if n.away {
		n.away = false
		n.gone.Store(false)
		n.log.Info().Str("event", "edge.back").Msg("registrar answers again")
	}
}
