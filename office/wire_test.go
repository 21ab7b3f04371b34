package office_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/siproam/siproam/sip"
)

// ear hears every message between the offices of three, and between them and phones, once.
type ear struct {
	x *three

	mu    sync.Mutex // guards what follows
	who   map[string]string
	seen  map[string]bool // messages; a retransmission is one that was seen
	open  map[string]bool // transactions without a final answer
	heard []heard
	last  time.Time
}

// heard is one message.
type heard struct {
	from, to string
	raw      []byte
}

// listen hears until the test ends.
func (x *three) listen() *ear {
	e := &ear{x: x, who: map[string]string{}, seen: map[string]bool{}, open: map[string]bool{}, last: time.Now()}
	for _, o := range x.house.Offices {
		for _, addr := range append(o.Addrs(), o.Config().PartnerListen) {
			_, hostport, _ := strings.Cut(addr, ":")
			e.who[hostport] = o.Name()
		}
	}
	for _, o := range x.house.Offices {
		x.t.Cleanup(o.Tap(func(f *sip.Flow, sent bool, b []byte) { e.hear(o.Name(), f, sent, slices.Clone(b)) }))
	}
	return e
}

// hear takes a message up. One between offices is heard when it is sent.
func (e *ear) hear(office string, f *sip.Flow, sent bool, b []byte) {
	var m sip.Message
	if sip.Parse(b, &m) != nil || f.Partner != "" && !sent {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	far := string(f.Partner)
	if far == "" {
		far = e.phone(f.Remote.String(), &m)
	}
	h := heard{from: far, to: office, raw: b}
	if sent {
		h.from, h.to = office, far
	}
	_, method, _ := strings.Cut(string(m.Value(sip.CSeq)), " ")
	via := string(m.Value(sip.Via))
	if _, branch, found := strings.Cut(via, "branch="); found {
		via, _, _ = strings.Cut(branch, ";")
	}
	transaction := fmt.Sprint(min(h.from, h.to), max(h.from, h.to), via, method)
	message := fmt.Sprint(transaction, m.IsRequest(), m.Status())
	e.last = time.Now()
	if e.seen[message] {
		return
	}
	e.seen[message] = true
	e.heard = append(e.heard, h)
	switch {
	case m.IsRequest() && m.Method() != sip.ACK:
		e.open[transaction] = true
	case m.Status() >= 200:
		delete(e.open, transaction)
	}
}

// phone is the number of the phone at addr: the one that registered from there.
func (e *ear) phone(addr string, m *sip.Message) string {
	if e.who[addr] == "" {
		e.who[addr] = "stranger"
		if to, err := m.To(); err == nil && m.Method() == sip.REGISTER {
			e.who[addr] = to.URI.User
		}
	}
	return e.who[addr]
}

// clear forgets what was heard.
func (e *ear) clear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = nil
}

// quiet is how long nothing must have been said for a flow to be over.
const quiet = 100 * time.Millisecond

// settled waits until every request has its final answer and nobody says more, and gives what was heard as lines.
func (e *ear) settled() []string {
	e.x.t.Helper()
	e.x.eventually("the wire is quiet", func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.open) > 0 || time.Since(e.last) < quiet {
			return fmt.Errorf("%d transactions are open", len(e.open))
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := make([]string, len(e.heard))
	for i, h := range e.heard {
		lines[i] = strings.TrimRight(fmt.Sprintf("%-5s > %-5s  %s", h.from, h.to, e.text(h.raw)), " ")
	}
	return lines
}

// shown is the fields that a ladder tells of, and how: with their value, or that they are there.
var shown = []struct {
	name  sip.Name
	value bool
}{
	{sip.Contact, false}, {sip.Expires, true}, {sip.Authorization, false}, {sip.ProxyAuthorization, false}, {sip.WWWAuthenticate, false},
	{sip.ProxyAuthenticate, false}, {sip.PVisitedNetworkID, true}, {sip.RoamDigest, false}, {sip.RoamTicket, false}, {sip.RoamEpoch, false},
	{sip.PAssertedIdentity, true}, {sip.PChargingVector, false}, {sip.SessionID, false}, {sip.Event, true}, {sip.SubscriptionState, true},
	{sip.Accept, true}, {sip.Reason, true}, {sip.ContentType, true},
}

// text is a message without what differs from run to run.
func (e *ear) text(raw []byte) string {
	var m sip.Message
	if err := sip.Parse(raw, &m); err != nil {
		return err.Error()
	}
	_, method, _ := strings.Cut(string(m.Value(sip.CSeq)), " ")
	words := []string{fmt.Sprint(m.Status()), strings.TrimSpace(method)}
	if m.IsRequest() {
		words = []string{m.MethodText(), e.uri(string(m.RequestURI()))}
	}
	for _, f := range shown {
		v := m.Value(f.name)
		switch {
		case v == nil:
		case !f.value:
			words = append(words, f.name.String())
		default:
			value, _, _ := strings.Cut(string(v), ";")
			if f.name == sip.Reason || f.name == sip.SubscriptionState {
				value = strings.ReplaceAll(string(v), " ", "")
			}
			words = append(words, f.name.String()+"="+value)
		}
	}
	return strings.Join(words, " ")
}

// uri is a URI with names for addresses and tokens.
func (e *ear) uri(u string) string {
	u, _, _ = strings.Cut(u, ";")
	user, host, found := strings.Cut(u, "@")
	if !found {
		user, host = "", strings.TrimPrefix(u, "sip:")
	}
	if name := e.who[host]; slices.Contains(officeNames[:], name) {
		host = name
	} else if name != "" {
		host = "phone"
	}
	user = strings.TrimPrefix(user, "sip:")
	switch {
	case user == "":
		return "sip:" + host
	case len(user) >= 12 && !strings.HasPrefix(user, "+"):
		user = "token"
	}
	return "sip:" + user + "@" + host
}
