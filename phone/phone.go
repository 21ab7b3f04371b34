// Package phone is a small softphone on sipgo and pion/rtp: it registers, calls, answers, echoes and
// plays tones. It is the built-in phones of `up`, the actors of `demo`, and the far end of tests, so
// that our stack always meets foreign code.
//
// Messages, their parser and the digest are sipgo's and icholy/digest's. Sockets, transactions and
// dialogs are small ones of its own, because sipgo's reorder what arrives and outlive their owner.
// A phone is one identity at one place: UDP on one socket, or TCP on one connection to its
// proxy and a listener. Everything it starts has returned when Run returns.
//
// Implements RFC 3261 as a user agent, digest (RFC 7616, 8760), G.711 in RTP (RFC 3550), hold (RFC
// 3264 8.4). Leaves out PRACK, UPDATE, REFER, forked answers and RTCP.
package phone

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/rs/zerolog"
)

// Config is one phone's account and place.
type Config struct {
	AOR      string        // "sip:1001@north.example", or "sip:+15550001001@127.0.0.1:5160" for a phone that knows only a number
	Login    string        // digest user name; "": the user of AOR
	Password string        // never logged
	Proxy    string        // "127.0.0.1:5160": the outbound proxy
	Listen   string        // "127.0.0.1:0", which is also the default
	TCP      bool          // signalling over TCP
	Instance string        // +sip.instance, "" for none
	Agent    string        // User-Agent; "": "siproam-phone"
	Expires  time.Duration // asked for; 0: 300 s
	Tone     float64       // Hz the phone plays while talking; 0: silence
	Answer   Behaviour
	Log      zerolog.Logger

	// Socket opens the UDP sockets of a phone that is somewhere else than this process, in another network namespace, or
	// carried from one to another; at is where it would be bound without. nil: net.ListenUDP.
	Socket func(at *net.UDPAddr) (*net.UDPConn, error)
}

// Behaviour is what a phone does when called.
type Behaviour uint8

// The behaviours.
const (
	Ring     Behaviour = iota // rings until the owner answers what comes from Calls
	Talk                      // answers and plays Tone
	Echo                      // answers and sends back what it hears
	CallBack                  // answers, hangs up and calls back 3 s later
	Busy                      // 486
)

// Phone is one softphone.
type Phone struct {
	cfg      Config
	aor      sip.Uri
	moves    chan move
	gone     chan struct{} // closed when Run has returned
	incoming chan *Call
	pace     pace

	mu       sync.Mutex // guards the fields below
	running  bool
	line     *line         // nil while not running
	lineSet  chan struct{} // closed when line is set
	calls    map[string]*Call
	last     *Call
	outcome  error         // of the last registration that was answered
	answered bool          // it was
	changed  chan struct{} // closed at the next answer
}

// pace is how the CallBack behaviour takes its time; tests are in more of a hurry.
type pace struct{ talk, wait, callBack time.Duration }

// maxCalls is how many calls a phone takes at once; the echo phone is called by several newcomers.
const maxCalls = 20

// ErrNotRunning says that Run has returned, or that the phone was moved meanwhile.
var ErrNotRunning = errors.New("phone not running")

// New starts nothing.
func New(cfg Config) (*Phone, error) {
	p := &Phone{
		cfg:      cfg,
		moves:    make(chan move),
		gone:     make(chan struct{}),
		incoming: make(chan *Call, maxCalls), // full: the caller gets 486
		pace:     pace{talk: time.Second, wait: 3 * time.Second, callBack: 20 * time.Second},
		lineSet:  make(chan struct{}),
		calls:    map[string]*Call{},
		changed:  make(chan struct{}),
	}
	if err := sip.ParseUri(cfg.AOR, &p.aor); err != nil || p.aor.User == "" || p.aor.Host == "" {
		return nil, fmt.Errorf("phone: aor %q is not sip:user@host", cfg.AOR)
	}
	if _, _, err := net.SplitHostPort(cfg.Proxy); err != nil {
		return nil, fmt.Errorf("phone %s: proxy %q is not host:port", cfg.AOR, cfg.Proxy)
	}
	if cfg.Listen == "" {
		p.cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Login == "" {
		p.cfg.Login = p.aor.User
	}
	if cfg.Agent == "" {
		p.cfg.Agent = "siproam-phone"
	}
	if cfg.Socket == nil {
		p.cfg.Socket = func(at *net.UDPAddr) (*net.UDPConn, error) { return net.ListenUDP("udp", at) }
	}
	if cfg.Expires == 0 {
		p.cfg.Expires = 300 * time.Second
	}
	p.cfg.Log = cfg.Log.With().Str("user", p.aor.User+"@"+p.aor.Host).Logger()
	return p, nil
}

// move asks Run to go on at another proxy; done is closed when it has gone there.
type move struct {
	proxy string
	done  chan struct{}
}

// Run registers, refreshes and answers until ctx ends; then it de-registers and hangs up. A refused
// registration is tried again. It returns nil when ctx ended it, else why it could not listen.
// A phone runs once.
func (p *Phone) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.running {
		p.mu.Unlock()
		return errors.New("phone: runs already")
	}
	p.running = true
	p.mu.Unlock()
	defer close(p.gone)
	proxy := p.cfg.Proxy
	for {
		next, err := p.runAt(ctx, proxy)
		if err != nil || next == "" {
			return err
		}
		proxy = next
	}
}

// runAt runs the phone at one proxy; next is where it was moved to, "" when ctx ended.
func (p *Phone) runAt(ctx context.Context, proxy string) (next string, err error) {
	l, err := p.open(proxy)
	if err != nil {
		return "", fmt.Errorf("phone %s: %w", p.cfg.AOR, err)
	}
	reg, stop := context.WithCancel(ctx)
	var registered *registration
	var registering sync.WaitGroup
	registering.Go(func() { registered = l.keepRegistered(reg) })
	p.plug(l)
	var moved move
	select {
	case <-ctx.Done():
	case moved = <-p.moves:
	}
	stop()
	registering.Wait()
	if moved.done == nil {
		l.goodbye(context.WithoutCancel(ctx), registered)
	}
	p.unplug()
	l.close()
	if moved.done != nil {
		close(moved.done)
	}
	return moved.proxy, nil
}

// goodbye hangs up and de-registers, within two seconds.
func (l *line) goodbye(ctx context.Context, registered *registration) {
	ctx, stop := context.WithTimeout(ctx, goodbyeIn)
	defer stop()
	var leaving sync.WaitGroup
	for _, c := range l.p.all() {
		leaving.Go(func() { _ = c.Hangup(ctx) }) // whoever does not answer has it from the end of RTP
	}
	if registered != nil {
		leaving.Go(func() { registered.deregister(ctx) })
	}
	leaving.Wait()
}

// plug lets l be used.
func (p *Phone) plug(l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = l
	close(p.lineSet)
}

// unplug is the end of the line in use and of what was known by it.
func (p *Phone) unplug() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line, p.lineSet = nil, make(chan struct{})
	p.answered, p.outcome = false, nil
}

// current is the line in use; it waits for Run to have opened it.
func (p *Phone) current(ctx context.Context) (*line, error) {
	for {
		p.mu.Lock()
		l, set := p.line, p.lineSet
		p.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-set:
		case <-p.gone:
			return nil, ErrNotRunning
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Registered waits until the office said 200, and gives the error of a refusal, a *[Refused].
func (p *Phone) Registered(ctx context.Context) error {
	for {
		p.mu.Lock()
		answered, outcome, changed := p.answered, p.outcome, p.changed
		p.mu.Unlock()
		if answered {
			return outcome
		}
		select {
		case <-changed:
		case <-p.gone:
			return ErrNotRunning
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// note tells Registered how a registration ended.
func (p *Phone) note(outcome error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered, p.outcome = true, outcome
	close(p.changed)
	p.changed = make(chan struct{})
}

// Move goes on at another proxy, as a phone that was carried there: a new registration, no goodbye.
// Calls end without a word, as when the plug is pulled. It returns when the registration there was answered.
func (p *Phone) Move(ctx context.Context, proxy string) error {
	if _, _, err := net.SplitHostPort(proxy); err != nil {
		return fmt.Errorf("phone %s: proxy %q is not host:port", p.cfg.AOR, proxy)
	}
	m := move{proxy, make(chan struct{})}
	select {
	case p.moves <- m:
	case <-p.gone:
		return ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
	<-m.done
	return p.Registered(ctx)
}

// Calls gives what rings, for a phone whose behaviour is Ring.
func (p *Phone) Calls() <-chan *Call { return p.incoming }

// Current is the call the phone is in, nil for none.
func (p *Phone) Current() *Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// add keeps a call while it lasts; it is found by its tag.
func (p *Phone) add(c *Call) (ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.calls) >= maxCalls {
		return false
	}
	p.calls[c.tag], p.last = c, c
	return true
}

// remove forgets a call that is over.
func (p *Phone) remove(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, c.tag)
	if p.last != c {
		return
	}
	p.last = nil
	for _, other := range p.calls {
		p.last = other
	}
}

// find is the call with this tag of ours.
func (p *Phone) find(tag string) *Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[tag]
}

// all is the calls there are.
func (p *Phone) all() []*Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.calls))
}

// Refused is a final answer other than 2xx.
type Refused struct {
	Code   int
	Reason string
}

// Error is "486 Busy Here".
func (r *Refused) Error() string { return fmt.Sprintf("%d %s", r.Code, r.Reason) }

// refused is res as an error, nil for 2xx.
func refused(res *sip.Response) error {
	if res.IsSuccess() {
		return nil
	}
	return &Refused{res.StatusCode, res.Reason}
}

// target is what to dial as a URI: "1002" and "+15550001002" are of the phone's own domain.
func (p *Phone) target(dialled string) (uri sip.Uri, err error) {
	if !strings.HasPrefix(dialled, "sip:") {
		if !strings.Contains(dialled, "@") {
			uri = *p.aor.Clone()
			uri.User = dialled
			return uri, nil
		}
		dialled = "sip:" + dialled
	}
	if err = sip.ParseUri(dialled, &uri); err != nil || uri.Host == "" {
		return uri, fmt.Errorf("phone %s: %q cannot be dialled", p.cfg.AOR, dialled)
	}
	return uri, nil
}
