// Package redirect is the face of the routing service itself (METHOD M17): a SIP redirect server (RFC 3261 8.3) that
// answers a switch's INVITE or OPTIONS for a user with where the user is, and a read-only HTTP view of the
// same. It gives no sign of life, owns no user and writes no location; who may ask is a list of networks,
// for it tells where people are.
package redirect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/sip/transport"
)

const (
	loopQueue = 1024
	loopAsks  = 256
)

// Config is where to listen, and for whom.
type Config struct {
	Listen []string       // SIP: "udp:127.0.0.1:5070", "tcp:[::]:5070"
	Allow  []netip.Prefix // whose questions are answered; none: this machine only
	Routes routesrv.Config
	Keys   []roam.OfficeKey // of all offices; none: the routing store is trusted. Else what home has not signed sends the caller to home
}

// Server answers where users are.
type Server struct {
	cfg       Config
	loop      *loop.Loop
	transport *transport.Transport
	layer     *transaction.Layer
	routes    *routesrv.Store
	mux       *transaction.Mux
	metrics   *metric.Set
	log       zerolog.Logger
	answers   *metric.Counter
	began     time.Time
}

// New makes the server; nothing runs and no port is bound yet.
func New(cfg Config, log zerolog.Logger) (*Server, error) {
	if err := cfg.Routes.Validate(); err != nil {
		return nil, err
	}
	if len(cfg.Allow) == 0 {
		cfg.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	s := &Server{cfg: cfg, loop: loop.New(loopQueue, loopAsks), metrics: &metric.Set{}, log: log, began: time.Now()}
	s.transport = transport.New(transport.Config{Listen: cfg.Listen, Boot: uint64(time.Now().Unix())}, func(*sip.Flow) roam.OfficeID { return "" }, s.metrics, log)
	s.layer = transaction.NewLayer(s.loop, s.transport, s.metrics, log)
	s.loop.EachTurn(s.transport.Flush)
	var err error
	if s.routes, err = routesrv.New(cfg.Routes, s.loop, roam.Card{}, "", 0, s.metrics, log); err != nil {
		return nil, err
	}
	if len(cfg.Keys) > 0 {
		s.routes.Trusting(s.trusts)
	}
	s.answers = s.metrics.Counter("redirects_total", "Questions for where a user is, by the answer's code.", "code")
	s.mux = transaction.NewMux()
	s.mux.Handle(sip.INVITE, "", s)
	s.mux.Handle(sip.OPTIONS, "", s)
	s.layer.Handle(s.mux)
	return s, nil
}

// Run serves until ctx ends, or a listener fails. ready, unless nil, is called once all ports are bound.
func (s *Server) Run(ctx context.Context, ready func()) error {
	if err := s.transport.Listen(); err != nil {
		return err
	}
	turning, stop := context.WithCancel(context.Background())
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { s.loop.Run(turning) })
	all.Go(func() {
		if err := s.routes.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn().Str("event", "routes.closed").Err(err).Msg("routing store's client closed")
		}
	})
	if ready != nil {
		ready()
	}
	err := s.transport.Serve(ctx, s.layer)
	stop()
	all.Wait()
	return err
}

// Addrs is every bound listener once Run has called ready.
func (s *Server) Addrs() []string { return s.transport.Addrs() }

// ServeSIP answers an INVITE, or an OPTIONS for a user, with 302 (8.3). One that names nobody asks for what
// we can do ourselves.
func (s *Server) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	if !s.allowed(req.Flow.Remote.Addr()) {
		s.answers.Add(1, "403")
		return roam.NotAllowed
	}
	to, err := sip.ParseURI(req.RequestURI())
	if err != nil {
		return err
	}
	if to.User == "" {
		if req.Method() == sip.INVITE {
			return roam.NoSuchUser
		}
		return tx.Reply(200, sip.Field{Name: sip.Allow, Value: s.mux.Allow()}, sip.Field{Name: sip.Accept, Value: "application/sdp"})
	}
	aor, err := to.AOR()
	if err != nil {
		return err
	}
	tx.Hold()
	tx.OnCancel(func(*sip.Message) {
		if !tx.Answered() {
			_ = tx.Reply(487)
		}
	})
	s.whereIs(names(aor), func(p Place, err error) { s.answer(tx, p, err) })
	return nil
}

// allowed says that the list of networks has from.
func (s *Server) allowed(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	for _, p := range s.cfg.Allow {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

// answer gives tx its final answer.
func (s *Server) answer(tx *transaction.Server, p Place, err error) {
	if tx.Answered() { // cancelled
		return
	}
	if err == nil && p.Location.Office == "" {
		err = roam.NotRegistered
	}
	if err == nil {
		var at sip.URI
		if at, err = p.contact(); err == nil {
			s.answers.Add(1, "302")
			_ = tx.Reply(302, sip.Field{Name: sip.Contact, Value: "<" + at.String() + ">;office=" + string(p.Location.Office)},
				sip.Field{Name: sip.RoamEpoch, Value: strconv.FormatUint(uint64(p.Location.Epoch), 10)})
			return
		}
	}
	code, _, _ := sip.Status(err)
	s.answers.Add(1, strconv.Itoa(code))
	tx.Refuse(err)
}

// Place is a user and where the user's calls go.
type Place struct {
	User     roam.UserID   `json:"user"`
	Home     roam.OfficeID `json:"home"`
	Location roam.Location `json:"location"` // without an office: nowhere
	Suspect  bool          `json:"suspect,omitempty"`
	Stale    bool          `json:"stale,omitempty"`
}

// contact is the user's canonical address at the serving softswitch: the host stays the user's domain, maddr and
// port say where to send it (RFC 3261 19.1.1), so that the softswitch there sees whom it is for.
func (p *Place) contact() (sip.URI, error) {
	at, err := sip.ParseURI([]byte(p.Location.Switch))
	if err != nil {
		return at, fmt.Errorf("softswitch of %s: %w", p.Location.Office, err)
	}
	to, err := sip.ParseURI([]byte("sip:" + string(p.User)))
	if err != nil {
		return at, err
	}
	to.Port = at.Port
	text := to.String() + ";maddr=" + at.Host
	if t, found := at.Params.Get("transport"); found {
		text += ";transport=" + t
	}
	return sip.ParseURI([]byte(text))
}

// names is under what R may know aor, best first: as it stands, and the number or extension alone.
func names(aor sip.AOR) []sip.AOR {
	all := []sip.AOR{aor}
	if user := aor.User(); user != string(aor) && (user[0] == '+' || number(user)) {
		all = append(all, sip.AOR(user))
	}
	return all
}

func number(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// whereIs asks R for the first of names that somebody has, then for that user's location. done comes in a later turn.
func (s *Server) whereIs(names []sip.AOR, done func(Place, error)) {
	s.routes.Identify(names[0], func(user roam.UserID, home roam.OfficeID, err error) {
		switch {
		case errors.Is(err, roam.NoSuchUser) && len(names) > 1:
			s.whereIs(names[1:], done)
			return
		case err != nil:
			done(Place{}, err)
			return
		}
		s.routes.Locate(user, false, func(at roam.Location, err error) {
			place := func(at roam.Location) {
				done(Place{User: user, Home: home, Location: at, Suspect: at.Suspect, Stale: at.Stale}, err)
			}
			if err == nil && at.Office == "" && len(s.cfg.Keys) > 0 {
				s.home(user, place)
				return
			}
			place(at)
		})
	})
}
