package office

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Seen is one SIP message as it was sent or received, with what must stay secret masked. Raw keeps its length.
type Seen struct {
	Time      time.Time     `json:"time"`
	Office    string        `json:"office"`
	Sent      bool          `json:"sent"`
	Transport string        `json:"transport"`
	Local     string        `json:"local"`
	Remote    string        `json:"remote"`
	Partner   roam.OfficeID `json:"partner,omitempty"` // the office at the other end
	Method    string        `json:"method"`            // of a response: of its request
	Status    int           `json:"status,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	From      string        `json:"from,omitempty"` // user@host
	To        string        `json:"to,omitempty"`
	URI       string        `json:"uri,omitempty"` // of a request
	CallID    string        `json:"call_id"`
	CSeq      uint32        `json:"cseq"`
	Raw       []byte        `json:"raw"`
	Dropped   uint64        `json:"dropped,omitempty"` // messages lost before this one, because the reader was slow
}

// traced is how many messages wait for a slow reader; more are dropped and counted.
const traced = 2048

// dialogs is how many Call-IDs a tracer remembers as the traced user's.
const dialogs = 4096

// tracer picks out the messages about somebody. mu guards calls.
type tracer struct {
	o     *Office
	mu    sync.Mutex
	calls map[string]bool // Call-IDs about the traced users
}

func newTracer(o *Office) *tracer { return &tracer{o: o, calls: map[string]bool{}} }

// see reads a message off the wire; ok is false for what is no message (a keep-alive).
func (t *tracer) see(f *sip.Flow, sent bool, b []byte) (s Seen, ok bool) {
	raw := slices.Clone(b)
	var m sip.Message
	if err := sip.Parse(raw, &m); err != nil && m.CallID() == "" {
		return s, false
	}
	s = Seen{
		Time: time.Now().UTC(), Office: t.o.Name(), Sent: sent, Transport: f.Transport.String(), Local: f.Local.String(), Remote: f.Remote.String(),
		Partner: f.Office(), Method: m.MethodText(), Status: m.Status(), Reason: strings.Clone(m.Reason()),
		CallID: strings.Clone(m.CallID()), CSeq: m.CSeq(),
	}
	if m.IsRequest() {
		s.URI = string(m.RequestURI())
	} else {
		s.Method = strings.TrimSpace(afterNumber(string(m.Value(sip.CSeq))))
	}
	if a, err := m.From(); err == nil {
		s.From = address(a)
	}
	if a, err := m.To(); err == nil {
		s.To = address(a)
	}
	s.Method, s.URI = strings.Clone(s.Method), strings.Clone(s.URI)
	Mask(raw)
	s.Raw = raw
	return s, true
}

// afterNumber is the method in a CSeq value.
func afterNumber(cseq string) string { return strings.TrimLeft(cseq, "0123456789") }

func address(a sip.Address) string {
	if a.URI.User == "" {
		return strings.Clone(a.URI.Host)
	}
	return a.URI.User + "@" + a.URI.Host
}

// about says that s concerns one of users: by its addresses, or by a Call-ID that did so before.
func (t *tracer) about(s Seen, users []string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls[s.CallID] {
		return true
	}
	for _, u := range users {
		for _, a := range []string{s.From, s.To, strings.TrimPrefix(strings.TrimPrefix(s.URI, "sip:"), "tel:")} {
			if a == u || strings.HasPrefix(a, u+"@") {
				if len(t.calls) >= dialogs {
					clear(t.calls)
				}
				t.calls[s.CallID] = true
				return true
			}
		}
	}
	return false
}

// Trace gives what the offices of this process send and receive, in order, until ctx ends or give returns
// an error. users, unless empty, are names and numbers; only, unless "", is one office.
func (h *House) Trace(ctx context.Context, users []string, only string, give func(Seen) error) error {
	queue := make(chan Seen, traced) // full: the message is dropped and counted
	var mu sync.Mutex                // guards dropped
	var dropped uint64
	for _, o := range h.chosen(only) {
		t := newTracer(o)
		stop := o.transport.Tap(func(f *sip.Flow, sent bool, b []byte) {
			s, ok := t.see(f, sent, b)
			if !ok || len(users) > 0 && !t.about(s, users) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			s.Dropped = dropped
			select {
			case queue <- s:
				dropped = 0
			default:
				dropped++
			}
		})
		defer stop()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-queue:
			if err := give(s); err != nil {
				return err
			}
		}
	}
}
