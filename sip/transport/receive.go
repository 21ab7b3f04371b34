package transport

import (
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"strconv"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// take parses one message into b, or answers what cannot be parsed. closing says that
// the stream it came by cannot be read on.
func (t *Transport) take(b *batch, f *sip.Flow, raw []byte) (closing bool) {
	defer func() { // the one place where a message's panic is caught
		if v := recover(); v != nil {
			t.caught("receive", f, v)
			closing = f.Transport.Stream()
		}
	}()
	t.show(f, false, raw)
	m := b.all[b.n]
	m.Flow = f
	if err := t.parse(b.keep(raw), m); err != nil {
		return t.refuse(b, m, err)
	}
	if f.Transport >= roam.WS && m.Trailing() > 0 { // one message in each (RFC 7118 5); a datagram's end is ignored (18.3)
		return t.refuse(b, m, &sip.Refused{Why: roam.BadRequest, Code: 400, Reason: "Bad Request - octets after Content-Length", Close: true})
	}
	switch {
	case f.Foreign != "":
		m.DistrustForeign()
	case f.Partner == "":
		m.Distrust()
	}
	t.count.received(m)
	b.n++
	return false
}

// deliver hands b over, and gives it back when it is empty.
func (t *Transport) deliver(b *batch) {
	if b.n == 0 {
		b.release()
		return
	}
	defer func() {
		if v := recover(); v != nil {
			t.caught("deliver", nil, v)
		}
	}()
	t.receiver.Receive(b.all[:b.n], b.release)
}

func (t *Transport) caught(event string, f *sip.Flow, v any) {
	t.count.refused("panic")
	e := t.log.Error().Str("event", "panic."+event).Str("err", fmt.Sprint(v)).Bytes("stack", debug.Stack())
	if f != nil {
		e = e.Stringer("remote_ip", f.Remote.Addr())
	}
	e.Msg("panic caught")
}

// refuse answers m as err says, statelessly (8.2.7), unless it deserves no answer: a
// response, an ACK, or what has nothing to answer from.
func (t *Transport) refuse(b *batch, m *sip.Message, err error) (closing bool) {
	refused, _ := err.(*sip.Refused)
	t.count.refused(reasonOf(refused))
	if refused == nil {
		return false
	}
	t.noisy.Debug().Str("event", "message.refused").Int("code", refused.Code).Str("reason", refused.Reason).
		Stringer("remote_ip", m.Flow.Remote.Addr()).Uint16("remote_port", m.Flow.Remote.Port()).Msg("message refused")
	if refused.Code != 0 && m.IsRequest() && m.Method() != sip.ACK {
		code, reason, fields := sip.Status(refused)
		b.w.Response(m, code, reason, statelessTag(m))
		b.w.AddFields(fields)
		if b.w.End("", nil) == nil && (!sip.Amplifies(m, b.w.Bytes()) || m.Flow.Transport.Stream() || t.Vouched(m.Flow.Flow)) {
			_ = t.SendNow(m.Flow, b.w.Bytes()) // the sender repeats his request if he cares
		}
	}
	return refused.Close
}

// reasonOf is the metric's label.
func reasonOf(r *sip.Refused) string {
	switch {
	case r == nil || r.Code == 0:
		return "dropped"
	case r.Close:
		return "framing"
	case r.Code == 400:
		return "malformed"
	}
	return strconv.Itoa(r.Code)
}

var tagSeed = maphash.MakeSeed()

// statelessTag is the same for every retransmission of m (8.2.7).
func statelessTag(m *sip.Message) string {
	var h maphash.Hash
	h.SetSeed(tagSeed)
	h.Write(m.Value(sip.CallID))
	h.Write(m.Value(sip.CSeq))
	h.Write(m.Value(sip.Via))
	return strconv.FormatUint(h.Sum64(), 36)
}

// noise says that a datagram only keeps a binding in a NAT open: CRLFs (RFC 5626), or
// the zeroes some phones send.
func noise(b []byte) bool {
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return true
}

// newFlow is a flow of a stranger: no names, no partner.
func (t *Transport) newFlow(name roam.Flow) *sip.Flow {
	return &sip.Flow{Flow: name, Here: t.here(name.Remote.Addr(), name.Local)}
}
