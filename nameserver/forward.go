package nameserver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/siproam/siproam/metric"
)

const (
	tryFor      = 1500 * time.Millisecond // of one resolver
	answerFor   = 4 * time.Second         // in all: a phone gives up after five
	underWay    = 256                     // questions to resolvers at once
	ofOne       = 32                      // of them by one source
	mostForgery = 8                       // answers that are none of ours, then we ask over TCP, where nobody can guess
)

var (
	errForged = errors.New("answers to another question")
	errShort  = errors.New("answer cut short")
	errNobody = errors.New("no resolver answers")
)

// forwarder puts questions to resolvers: each from a port and with an id of its own, both drawn. The bound of what is under
// way is underWay; who asks beyond it is not answered, and asks again.
type forwarder struct {
	forged *metric.Value
	took   *metric.Histogram
	best   atomic.Uint32 // the resolver that answered last: one that is dead costs its time once

	mu  sync.Mutex // guards what follows
	all int
	of  map[netip.Addr]int
}

func newForwarder(m *metric.Set) *forwarder {
	return &forwarder{
		of:     map[netip.Addr]int{},
		forged: m.Counter("nameserver_forged_total", "Answers from resolvers' addresses to questions that we did not ask.").With(),
		took:   m.Histogram("nameserver_forward_duration_seconds", "How long resolvers take to answer.", metric.Durations),
	}
}

// begin says that one more question of from may be put to resolvers; then end follows.
func (f *forwarder) begin(from netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	from = sourceOf(from)
	if f.all >= underWay || f.of[from] >= ofOne {
		return false
	}
	f.all++
	f.of[from]++
	return true
}

func (f *forwarder) end(from netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from = sourceOf(from)
	f.all--
	if f.of[from]--; f.of[from] == 0 {
		delete(f.of, from)
	}
}

// ask is the answer of a resolver to q's question, without what belongs to the resolver's own message alone (EDNS0). It waits.
func (f *forwarder) ask(ctx context.Context, q *dns.Msg, servers []Resolver) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	last, first := errNobody, int(f.best.Load())
	for i := range 2 * len(servers) {
		which := (first + i) % len(servers)
		began := time.Now()
		r, err := f.try(ctx, q, servers[which].AddrPort)
		if err == nil {
			f.took.Observe(time.Since(began).Seconds())
			f.best.Store(uint32(which))
			return r, nil
		}
		last = fmt.Errorf("%s: %w", servers[which].AddrPort, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("%w: %w", errNobody, last)
}

// try asks one resolver: over UDP, and over TCP when the answer is cut short or somebody seems to forge it. Over UDP the question
// must come back letter by letter, so that a phone that draws the case of its letters (0x20) adds to what a forger must guess.
func (f *forwarder) try(ctx context.Context, q *dns.Msg, server netip.AddrPort) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	r, err := f.exchange(ctx, "udp", q, server)
	if errors.Is(err, errShort) || errors.Is(err, errForged) {
		r, err = f.exchange(ctx, "tcp", q, server)
	}
	if err != nil {
		return nil, err
	}
	kept := r.Extra[:0]
	for _, x := range r.Extra {
		if t := x.Header().Rrtype; t != dns.TypeOPT && t != dns.TypeTSIG && t != dns.TypeSIG {
			kept = append(kept, x)
		}
	}
	return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: r.Rcode, RecursionAvailable: true, AuthenticatedData: r.AuthenticatedData && wantsAD(q)},
		Answer: r.Answer, Ns: r.Ns, Extra: kept}, nil
}

// wantsAD says that whoever asked understands the AD bit (RFC 6840 5.7).
func wantsAD(q *dns.Msg) bool {
	e := q.IsEdns0()
	return q.AuthenticatedData || e != nil && e.Do()
}

// exchange is one question to one resolver over one transport.
func (f *forwarder) exchange(ctx context.Context, network string, q *dns.Msg, server netip.AddrPort) (*dns.Msg, error) {
	out := &dns.Msg{MsgHdr: dns.MsgHdr{Id: randomID(), RecursionDesired: true, CheckingDisabled: q.CheckingDisabled, AuthenticatedData: q.AuthenticatedData}, Question: q.Question}
	e := q.IsEdns0()
	out.SetEdns0(safeUDP, e != nil && e.Do())
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, network, server.String()) // connected: what others send is not heard
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	conn := &dns.Conn{Conn: c}
	if err := conn.WriteMsg(out); err != nil {
		return nil, err
	}
	b := make([]byte, 65535)
	for range mostForgery {
		n, err := conn.Read(b)
		if err != nil {
			return nil, err
		}
		r := new(dns.Msg)
		if r.Unpack(b[:n]) != nil || !isAnswer(r, out) {
			f.forged.Add(1)
			continue
		}
		switch {
		case network == "udp" && r.Question[0].Name != q.Question[0].Name:
			return nil, errForged // a letter in another case
		case r.Truncated && network == "udp":
			return nil, errShort
		case r.Truncated:
			return nil, errors.New("cut short over TCP")
		case r.Rcode == dns.RcodeServerFailure || r.Rcode == dns.RcodeRefused || r.Rcode == dns.RcodeNotImplemented || r.Rcode == dns.RcodeFormatError:
			return nil, errors.New(strings.ToLower(dns.RcodeToString[r.Rcode]))
		}
		return r, nil
	}
	return nil, errForged
}

// isAnswer says that r answers out.
func isAnswer(r, out *dns.Msg) bool {
	if !r.Response || r.Id != out.Id || r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 {
		return false
	}
	is, asked := r.Question[0], out.Question[0]
	return strings.EqualFold(is.Name, asked.Name) && is.Qtype == asked.Qtype && is.Qclass == asked.Qclass
}

// randomID cannot be guessed (RFC 5452 4.3).
func randomID() uint16 {
	var b [2]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint16(b[:])
}
