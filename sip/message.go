package sip

import (
	"bytes"
	"iter"
	"math"
)

// Message is one request or response: an index over the bytes it came in. It
// borrows them until the turn of the loop ends; Keep makes one that owns its bytes.
type Message struct {
	Flow *Flow // how it came; set by the transport, nil in a message of our own

	raw        []byte
	headers    []header
	first      [OtherName + 1]uint16 // by Name: 1 + index of its first field, 0: absent
	method     Method
	methodText span
	uri        span
	status     int
	reason     span
	body       span
	cseq       uint32
}

// IsRequest says that m is a request.
func (m *Message) IsRequest() bool { return m.status == 0 }

// Method is the request's method (RFC 3261 7.1); of a response, the method of CSeq.
func (m *Message) Method() Method { return m.method }

// MethodText is the method as written, letter case kept.
func (m *Message) MethodText() string {
	if m.method != Other {
		return methods[m.method]
	}
	if m.status != 0 {
		v := m.Value(CSeq)
		return string(v[bytes.LastIndexAny(v, " \t\n")+1:])
	}
	return string(m.methodText.of(m.raw))
}

// Status is the status code; 0 for a request.
func (m *Message) Status() int { return m.status }

// Reason is the reason phrase of a response.
func (m *Message) Reason() string { return string(m.reason.of(m.raw)) }

// RequestURI is the Request-URI as written; ParseURI reads it.
func (m *Message) RequestURI() []byte { return m.uri.of(m.raw) }

// Value is the first value of n, unfolded and trimmed, nil when absent. A
// comma list is not split.
func (m *Message) Value(n Name) []byte {
	for i := int(m.first[n]); i > 0 && i <= len(m.headers); i++ {
		if h := &m.headers[i-1]; h.name == n && !h.hidden {
			return m.valueOf(h)
		}
	}
	return nil
}

// valueOf is a field's value; a folded one is copied with each fold as one space (7.3.1).
func (m *Message) valueOf(h *header) []byte {
	v := h.value.of(m.raw)
	if !h.folded {
		return v
	}
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); {
		if v[i] != '\r' {
			out = append(out, v[i])
			i++
			continue
		}
		for i < len(v) && blank(v[i]) {
			i++
		}
		out = append(bytes.TrimRight(out, " \t"), ' ')
	}
	return out
}

// Values yields every value of n in order, comma lists split where the field
// allows them (Contact, Route, Via, Require ...).
func (m *Message) Values(n Name) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := int(m.first[n]); i > 0 && i <= len(m.headers); i++ {
			h := &m.headers[i-1]
			if h.name != n || h.hidden {
				continue
			}
			v := m.valueOf(h)
			if !fields[n].list {
				if !yield(v) {
					return
				}
				continue
			}
			for v != nil {
				var one []byte
				if one, v, _ = cutValue(v); !yield(one) {
					return
				}
			}
		}
	}
}

// Other is the first value of a header field we have no Name for.
func (m *Message) Other(name string) []byte {
	for i := range m.headers {
		if h := &m.headers[i]; h.name == OtherName && !h.hidden && equalFold(h.text.of(m.raw), name) {
			return m.valueOf(h)
		}
	}
	return nil
}

// Has says that the comma list n holds token, in any letter case (Require: 100rel).
func (m *Message) Has(n Name, token string) bool {
	for v := range m.Values(n) {
		if equalFold(v, token) {
			return true
		}
	}
	return false
}

// CallID is the Call-ID.
func (m *Message) CallID() string { return string(m.Value(CallID)) }

// CSeq is the CSeq number.
func (m *Message) CSeq() uint32 { return m.cseq }

// FromTag is the From tag, "" when absent.
func (m *Message) FromTag() string { return tagOf(m.Value(From)) }

// ToTag is the To tag, "" when absent.
func (m *Message) ToTag() string { return tagOf(m.Value(To)) }

func tagOf(v []byte) string {
	t, _ := headerParams(v).Get("tag")
	return t
}

// headerParams is the parameters outside <>, or after the addr-spec.
func headerParams(v []byte) Params {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			if j := bytes.IndexByte(v[i:], '>'); j >= 0 {
				i += j
			}
		case c == ';':
			return Params(v[i+1:])
		}
	}
	return ""
}

// From is the From address.
func (m *Message) From() (Address, error) { return ParseAddress(m.Value(From)) }

// To is the To address.
func (m *Message) To() (Address, error) { return ParseAddress(m.Value(To)) }

// Cookie begins every branch of RFC 3261 (8.1.1.7).
const Cookie = "z9hG4bK"

// Branch is the topmost Via's branch, "" when absent or RFC 2543's.
func (m *Message) Branch() string {
	for v := range m.Values(Via) {
		b, _ := headerParams(v).Get("branch")
		if len(b) <= len(Cookie) || !equalFold(b[:len(Cookie)], Cookie) {
			return ""
		}
		return b
	}
	return ""
}

// TopVia is the topmost Via.
func (m *Message) TopVia() (ViaValue, error) {
	for v := range m.Values(Via) {
		return ParseVia(v)
	}
	return ViaValue{}, bad("no Via")
}

// Seconds reads a delta-seconds field (Expires, Retry-After, Max-Forwards ...);
// found is false when absent. A value above 2^32-1 reads as 2^32-1.
func (m *Message) Seconds(n Name) (v uint32, found bool) {
	b := m.Value(n)
	if b == nil {
		return 0, false
	}
	end := 0
	for end < len(b) && b[end] >= '0' && b[end] <= '9' {
		end++
	}
	if end == 0 {
		return 0, false
	}
	s, _ := number(b[:end], math.MaxUint32)
	return uint32(s), true
}

// Body is the body, Content-Length long.
func (m *Message) Body() []byte { return m.body.of(m.raw) }

// Bytes is the message as it came.
func (m *Message) Bytes() []byte { return m.raw }

// Keep returns a copy that owns its bytes and stays valid.
func (m *Message) Keep() *Message {
	k := *m
	k.raw = bytes.Clone(m.raw)
	k.headers = append([]header(nil), m.headers...)
	return &k
}

// onlyPartners is what a phone may not say (DESIGN 5).
var onlyPartners = [...]Name{PAssertedIdentity, PVisitedNetworkID, PChargingVector, Path, RoamTicket, RoamEpoch, RoamDigest, RoamService}

// Distrust removes what only partners may say: P-Asserted-Identity,
// P-Visited-Network-ID, P-Charging-Vector, Path, Roam-* (DESIGN 5). The
// transport calls it for whatever comes from a phone listener.
func (m *Message) Distrust() {
	for _, n := range onlyPartners {
		if m.first[n] == 0 {
			continue
		}
		m.first[n] = 0
		for i := range m.headers {
			if m.headers[i].name == n {
				m.headers[i].hidden = true
			}
		}
	}
}
