// Package registrar is the registration server G: it reads REGISTERs (RFC 3261 10.3), asks and
// answers other registrars (DESIGN 6), feeds package control and does what it says.
//
// A REGISTER that changes nothing touches memory only and is answered in its turn. Everything
// that must wait is a held transaction and an event to come. It trusts a partner's words only on
// a flow that is a partner's (sip.Flow.Partner), whatever a message claims.
//
// Between offices, on the partner listener only:
//
//	OPTIONS sip:softswitch   the office card; with a user part, what is known of a visitor
//	REGISTER, no Contact     identity query: Authorization as the phone sent it, Roam-Digest: method;uri="...",
//	                         P-Visited-Network-ID: office;device="...";call="...";person;from="...", and what the
//	                         device can do: transport=udp;require="...";supported="...";methods="...". The 200
//	                         brings Roam-Ticket and {user, profile, challenge}: with what the phone may be challenged next
//	REGISTER, Contact        registration message: <sip:token@softswitch>, Roam-Ticket, our card. The 200 brings the
//	                         location, and Expires as home grants it
//	REGISTER, both           renewal: what of a visit's refresh is checked and what is recorded, at once. The 200
//	                         brings what those of the other two bring
//	NOTIFY, Event: reg       supersede: reginfo with where calls go now, Roam-Ticket with home's signature.
//	                         The 200 names in Roam-Epoch what it acknowledges
//	NOTIFY, Event: roam-start   an office has started: rejoin.go
//
// It implements RFC 3261 10, RFC 5626 as a registrar that phones reach directly, and the reg event
// package (RFC 3680) as the notice between offices that a device has moved. It leaves out GRUU
// (RFC 5627), third-party registration and subscriptions.
package registrar

import (
	"context"
	"crypto/rand"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/digest"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/store"
)

// Switch is the office's softswitch as the registrar sees it (METHOD d, h, 480).
type Switch interface {
	// Allocate serves line, or renews it; a refusal is roam.NoCapacity or roam.NoAbility.
	Allocate(line roam.Line, done func(roam.Refusal))
	// Release stops serving device of user; gone, unless zero, is where calls for it go now.
	Release(user roam.UserID, device roam.Device, gone roam.Location)
}

// Router is R, asked through S (METHOD 120, 180, 190); *routesrv.Store.
type Router interface {
	Identify(a sip.AOR, done func(roam.UserID, roam.OfficeID, error))
	Locate(user roam.UserID, fresh bool, done func(roam.Location, error))
	Report(user roam.UserID, at roam.Location, why string, done func(now roam.Location, err error))
	Up() bool
	Publish(ids, gone []roam.Identity)
	Peer(o roam.OfficeID, done func(roam.Peer, error))
}

// Config is office.yaml's "registration", and what the registrar needs of the rest.
type Config struct {
	Expires        roam.Duration      `yaml:"expires"`         // granted when the phone asks for nothing; 300s
	Min            roam.Duration      `yaml:"min"`             // shorter is refused, 423; 60s
	Max            roam.Duration      `yaml:"max"`             // longer is cut; 1h
	Contacts       int                `yaml:"contacts"`        // bindings per user; 5
	Devices        string             `yaml:"devices"`         // many or one
	Algorithms     []string           `yaml:"algorithms"`      // md5, sha-256 or both
	ChallengeCalls string             `yaml:"challenge_calls"` // never, udp or always (used by the softswitch)
	Probe          roam.Duration      `yaml:"probe"`           // phones are asked so often whether they live (used by the softswitch); 0s: never
	Offline        string             `yaml:"offline"`         // tell or keep: is home told when a visitor goes offline (M13)
	HomeSilent     roam.SilencePolicy `yaml:"-"`
	Partners       []roam.Partner     `yaml:"-"`
	Abilities      Abilities          `yaml:"-"` // what devices must speak
	Card           roam.Card          `yaml:"-"` // who we are
	Names          []string           `yaml:"-"` // hosts that mean us: domain first, then aliases and our addresses
	Numbers        *roam.Numbers      `yaml:"-"` // the dialling plan; travels in the profile
	UserCapacity   int                `yaml:"-"` // most accounts; 0: no limit
	Strict         bool               `yaml:"-"` // moves wait for R (routes.mode)
	Signed         bool               `yaml:"-"` // what R holds counts with home's signature only (routes.trust)

	Edges map[roam.SwitchID]string `yaml:"-"` // SIP URIs of softswitches in processes of their own (M16); none: Card.Switch has the phones
}

// Server is the registrar of one office. Its methods run on the loop unless they take a ctx.
type Server struct {
	cfg    Config
	loop   *loop.Loop
	tl     *transaction.Layer
	file   *store.File
	sw     Switch
	router Router
	leases Leases
	log    zerolog.Logger

	office  *control.Office
	guard   digest.Guard
	signer  *seal.Signer
	sources [16]byte         // key of from
	row     []byte           // of a subscriber, while it is made
	asked   control.Register // of the REGISTER being served: what most need for a moment only
	agents  agents
	can     known
	epochs  epochs

	hosts     map[string]bool // cfg.Names
	users     map[roam.UserID]*subscriber
	names     map[string]*subscriber // aliases, numbers, extensions; see named
	visitors  map[roam.UserID][]*visitor
	guests    map[roam.OfficeID]int           // devices here, by home
	numbers   map[string]roam.UserID          // of visitors
	called    map[sip.AOR]roam.UserID         // visitors, as their phones call them
	paths     map[string]tenants              // whose phone a front reaches by the token in its Path
	mirrored  map[string]*visitor             // of foreign homes, by token
	mins      map[roam.OfficeID]time.Duration // the shortest interval of a foreign home, as it has said
	cards     map[roam.OfficeID]*cached
	ranges    map[roam.OfficeID][]string // of numbers, ours and partners', as R says
	clashes   map[string]bool            // ranges that were told to be two offices'
	watched   int                        // how often R was asked about partners
	domains   map[roam.OfficeID][]string // of partners, as R says
	seen      map[roam.OfficeID]*acquaintance
	flows     map[roam.Flow]tenants        // whose bindings a flow carries
	ended     map[roam.Flow]bool           // connections that are gone, and have bindings
	phones    map[string]sighting          // of provisioned phones, by login
	callers   map[roam.Flow]time.Time      // who has proved for a call who he is, and when
	onBound   func(roam.Flow, bool)        // never nil
	onBehind  func(roam.Target, bool)      // likewise
	onFailed  func(roam.Flow)              // likewise
	rejoined  map[roam.OfficeID]*rejoining // see rejoin
	started   time.Time
	written   time.Time                      // our file, before this start
	newest    roam.Epoch                     // that our file knew at this start
	old       bool                           // we have signed tickets that it does not know
	onStarted func(roam.OfficeID, time.Time) // never nil

	onChanged func(roam.UserID) // likewise

	spots      map[roam.Spot]*roam.Spot // see spot
	leasesOver map[netip.Addr]bool      // in this turn; see LeaseOver

	questions questions

	order    []roam.UserID    // of users; see sorted
	waits    map[uint64]*wait // requests that wait for a core's Answer
	last     uint64           // of waits
	accounts chan struct{}    // one place: accounts change one at a time

	bound [3]atomic.Int64 // bindings, by the bound constants
	counters
}

// The kinds of bindings we count.
const (
	boundHome    = iota // our users' here
	boundAway           // our users' devices elsewhere
	boundVisitor        // visitors' here
)

// New reads users, bindings and visits from f. leases may be nil.
func New(cfg Config, l *loop.Loop, tl *transaction.Layer, f *store.File, sw Switch, r Router, leases Leases, m *metric.Set, log zerolog.Logger) (*Server, error) {
	s := &Server{
		loop: l, tl: tl, file: f, sw: sw, router: r, leases: leases, log: log,
		agents: agents{}, can: known{}, office: &control.Office{Equal: equalURI}, guard: digest.Guard{Key: seal.NewStamps()},
		users: map[roam.UserID]*subscriber{}, names: map[string]*subscriber{}, visitors: map[roam.UserID][]*visitor{},
		guests: map[roam.OfficeID]int{}, mirrored: map[string]*visitor{}, mins: map[roam.OfficeID]time.Duration{}, numbers: map[string]roam.UserID{}, called: map[sip.AOR]roam.UserID{}, cards: map[roam.OfficeID]*cached{}, ranges: map[roam.OfficeID][]string{}, clashes: map[string]bool{}, domains: map[roam.OfficeID][]string{}, seen: map[roam.OfficeID]*acquaintance{}, flows: map[roam.Flow]tenants{}, ended: map[roam.Flow]bool{}, callers: map[roam.Flow]time.Time{}, phones: map[string]sighting{},
		waits: map[uint64]*wait{}, accounts: make(chan struct{}, 1),
		paths: map[string]tenants{}, onBehind: func(roam.Target, bool) {},
		rejoined: map[roam.OfficeID]*rejoining{}, onStarted: func(roam.OfficeID, time.Time) {},
		onBound: func(roam.Flow, bool) {}, onFailed: func(roam.Flow) {}, onChanged: func(roam.UserID) {}, questions: questions{offices: map[roam.OfficeID]int{}},
	}
	rand.Read(s.sources[:]) // never fails (crypto/rand)
	s.started = l.Now()
	s.count(m)
	if err := s.loadKeys(context.Background()); err != nil {
		return nil, err
	}
	s.configure(cfg)
	if err := s.load(context.Background()); err != nil {
		return nil, err
	}
	l.After(0, s.restore)
	return s, nil
}

// configure takes cfg.
func (s *Server) configure(cfg Config) {
	s.cfg = cfg
	s.cfg.Card.Version, s.cfg.Card.Key = docVersion, s.signer.Public()
	s.hosts = make(map[string]bool, len(cfg.Names))
	for _, n := range cfg.Names {
		s.hosts[n] = true
	}
	s.ownRanges()
	s.guard.Lifetime = max(5*time.Minute, 2*cfg.Expires.D())
	s.guard.Away = max(s.guard.Lifetime, 2*cfg.Max.D())
	o := s.office
	o.Sign = s.signLocation
	o.Here = roam.Location{Office: cfg.Card.Office, Switch: cfg.Card.Switch, Registrar: cfg.Card.Registrar}
	o.Ticket = max(2*cfg.Max.D(), cfg.HomeSilent.ResendFor.D())
	o.Quiet = cfg.Offline == "keep"
	o.Many, o.Contacts, o.Max, o.Strict = cfg.Devices != "one", cfg.Contacts, cfg.Max.D(), cfg.Strict
	for _, u := range s.users {
		u.home.Profile = s.profile(&u.account)
		s.onChanged(u.home.User)
	}
}

// Reload takes a new configuration without dropping a registration.
func (s *Server) Reload(cfg Config) {
	numbering := s.cfg.Numbers
	s.configure(cfg)
	s.stale()
	if !reflect.DeepEqual(numbering, cfg.Numbers) {
		s.tellProfiles()
	}
}

// restore gives what the file had one more interval, and tells R who we have.
func (s *Server) restore() {
	now := s.loop.Now()
	var ids []roam.Identity
	s.newest = s.newestKnown()
	for _, u := range s.users {
		u.at = u.home.Location.Office
		for _, a := range u.home.Restore(now, nil) {
			s.do(u, a)
		}
		s.reindex(u)
		s.suspect(u.home.Contacts())
		ids = append(ids, s.identities(u)...)
	}
	for _, vs := range s.visitors {
		for _, v := range vs {
			for _, a := range v.visit.Restore(now, nil) {
				s.doVisit(v, a)
			}
			s.reindexVisit(v)
			s.suspect(v.visit.Contacts)
		}
	}
	s.router.Publish(ids, nil)
	s.watch()
	s.rejoin()
}

// suspect marks the bindings of connections: they ended with the process before this one, unless a
// softswitch in another process holds them.
func (s *Server) suspect(cs []control.Contact) {
	for _, c := range cs {
		if c.Target.Flow.Transport.Stream() && c.Target.Flow.Edge == "" && !isBehind([]control.Contact{c}) {
			s.ended[c.Target.Flow] = true
		}
	}
}

// equalURI compares Contacts (RFC 3261 19.1.4).
func equalURI(a, b string) bool {
	u, err1 := sip.ParseURI([]byte(a))
	v, err2 := sip.ParseURI([]byte(b))
	return err1 == nil && err2 == nil && u.Equal(v)
}

// ServeSIP takes REGISTER, the OPTIONS that ask for an office card, and NOTIFY: Event: reg is a supersede,
// Event: ua-profile a changed profile.
func (s *Server) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	switch req.Method() {
	case sip.REGISTER:
		return s.serveRegister(tx, req)
	case sip.OPTIONS:
		return s.serveOptions(tx, req)
	case sip.NOTIFY:
		switch {
		case isProfile(req):
			return s.serveProfile(tx, req)
		case isStart(req):
			return s.serveStart(tx, req)
		}
		return s.serveSupersede(tx, req)
	}
	return roam.BadRequest
}

// closedFor is how long a phone whose connection ended may take to come back before it is offline (M12): it dials again after a
// few seconds, RFC 5626 4.5, and until then calls try what it had last.
const closedFor = 32 * time.Second

// Closed marks the bindings of a connection that ended, and ends them unless the phone comes back.
func (s *Server) Closed(f *sip.Flow) {
	if t := s.flows[f.Flow]; t.len() > 0 && f.Foreign == "" { // a front's says nothing of the phones behind it
		gone := f.Flow
		s.ended[gone] = true
		s.loop.After(closedFor, func() { s.Silent(gone) })
	}
}

// Silent ends what f carries: nobody answers there any more (M12). A device that has another flow, too, lives on.
func (s *Server) Silent(f roam.Flow) {
	t := s.flows[f]
	for _, user := range t.all() {
		s.offline(user, f)
	}
}

// offline ends the bindings of user that f carries.
func (s *Server) offline(user roam.UserID, f roam.Flow) {
	s.offlineOn(user, f, "", func(c control.Contact) bool { return c.Target.Flow == f })
}

// offlineOn ends the bindings that f carries, with uri unless that is empty, of the devices of user that have one of which
// on is true.
func (s *Server) offlineOn(user roam.UserID, f roam.Flow, uri string, on func(control.Contact) bool) {
	if u := s.users[user]; u != nil {
		for _, p := range slices.Clone(u.home.At) {
			if p.Office == s.cfg.Card.Office && slices.ContainsFunc(p.Contacts, on) {
				s.change(u, func() control.Event { return control.Offline{Device: p.Device, Flow: f, URI: uri, Next: s.draw()} })
			}
		}
	}
	for _, v := range slices.Clone(s.visitors[user]) {
		if slices.ContainsFunc(v.visit.Contacts, on) {
			s.changeVisit(v, func() control.Event { return control.Offline{Device: v.visit.Device, Flow: f, URI: uri} })
		}
	}
}
