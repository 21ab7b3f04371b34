package sip

import (
	"bytes"
	"iter"
	"math"
	"slices"
)

// Message is one request or response: an index over the bytes it came in. It
// borrows them until the turn of the loop ends; Keep makes one that owns its bytes.
// Strings it gives are copies and stay valid, byte slices are not.
type Message struct {
	Flow *Flow // how it came; set by the transport, nil in a message of our own

	came   []byte               // as it came
	raw    []byte               // what the index points into: came, or came unfolded
	fields []field              // in order
	first  [OtherName + 1]uint8 // by Name: 1 + the index of its first field, 0: absent
	seq    uint32
	status int
	method Method

	methodText, uri, reason, body  span
	fromTag, toTag, branch, sentBy span
}

// span is a piece of Message.raw.
type span struct{ from, to uint32 }

// field is one header field. Its value is unfolded and trimmed.
type field struct {
	name       Name
	key, value span
}

func (m *Message) text(s span) []byte { return m.raw[s.from:s.to] }

// IsRequest says that m is a request.
func (m *Message) IsRequest() bool { return m.status == 0 }

// Method is the request's method (RFC 3261 7.1); of a response, the method of CSeq.
func (m *Message) Method() Method { return m.method }

// MethodText is the method as written, letter case kept.
func (m *Message) MethodText() string {
	if m.method != Other {
		return m.method.String()
	}
	return string(m.text(m.methodText))
}

// Status is the status code; 0 for a request.
func (m *Message) Status() int { return m.status }

// Reason is the reason phrase of a response.
func (m *Message) Reason() string { return string(m.text(m.reason)) }

// RequestURI is the Request-URI as written; ParseURI reads it.
func (m *Message) RequestURI() []byte { return m.text(m.uri) }

// Value is the first value of n, unfolded and trimmed, nil when absent. A
// comma list is not split.
func (m *Message) Value(n Name) []byte {
	if n > OtherName || m.first[n] == 0 {
		return nil
	}
	return m.text(m.fields[m.first[n]-1].value)
}

// Values yields every value of n in order, comma lists split where the field
// allows them (Contact, Route, Via, Require ...), empty elements left out.
func (m *Message) Values(n Name) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) { m.each(n, yield) }
}

func (m *Message) each(n Name, yield func([]byte) bool) {
	if n > OtherName || m.first[n] == 0 {
		return
	}
	for _, f := range m.fields[m.first[n]-1:] {
		if f.name != n {
			continue
		}
		v := m.text(f.value)
		if !lists.has(n) {
			if !yield(v) {
				return
			}
			continue
		}
		for v != nil {
			end, _ := comma(view(v))
			one := trim(v[:end])
			if v = v[end:]; len(v) > 0 {
				v = v[1:]
			} else {
				v = nil
			}
			if len(one) > 0 && !yield(one) {
				return
			}
		}
	}
}

// Lines yields every value of n in order, comma lists as they stand: to tell whether two messages say the same.
func (m *Message) Lines(n Name) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if n > OtherName || m.first[n] == 0 {
			return
		}
		for _, f := range m.fields[m.first[n]-1:] {
			if f.name == n && !yield(m.text(f.value)) {
				return
			}
		}
	}
}

// Other is the first value of the header field called name, in any letter case; it is
// meant for those we have no Name for.
func (m *Message) Other(name string) []byte {
	if n := lookup(name); n != OtherName {
		return m.Value(n)
	}
	for _, f := range m.fields {
		if f.name == OtherName && equalFold(view(m.text(f.key)), name) {
			return m.text(f.value)
		}
	}
	return nil
}

// Has says that the comma list n holds token, in any letter case (Require: 100rel).
// Parameters of the elements are passed over (Accept: application/sdp;level=1).
func (m *Message) Has(n Name, token string) bool {
	for v := range m.Values(n) {
		if v, _, _ = bytes.Cut(v, []byte{';'}); equalFold(view(trimRight(v)), token) {
			return true
		}
	}
	return false
}

// CallID is the Call-ID.
func (m *Message) CallID() string { return string(m.Value(CallID)) }

// CSeq is the CSeq number.
func (m *Message) CSeq() uint32 { return m.seq }

// FromTag is the From tag, "" when absent.
func (m *Message) FromTag() string { return string(m.text(m.fromTag)) }

// ToTag is the To tag, "" when absent.
func (m *Message) ToTag() string { return string(m.text(m.toTag)) }

// FromTagged and ToTagged are From or To as it stands, and its tag, a piece of it, "" when absent.
func (m *Message) FromTagged() (value, tag string) { return m.tagged(From, m.fromTag) }

// ToTagged is FromTagged for To.
func (m *Message) ToTagged() (value, tag string) { return m.tagged(To, m.toTag) }

func (m *Message) tagged(n Name, tag span) (string, string) {
	if m.first[n] == 0 {
		return "", ""
	}
	at := m.fields[m.first[n]-1].value
	s := string(m.text(at))
	if tag == (span{}) {
		return s, ""
	}
	return s, s[tag.from-at.from : tag.to-at.from]
}

// Tags is both tags as they stand, borrowed; nil or empty when absent.
func (m *Message) Tags() (from, to []byte) { return m.text(m.fromTag), m.text(m.toTag) }

// From is the From address.
func (m *Message) From() (Address, error) { return ParseAddress(m.Value(From)) }

// To is the To address.
func (m *Message) To() (Address, error) { return ParseAddress(m.Value(To)) }

// Cookie begins every branch of RFC 3261 (8.1.1.7).
const Cookie = "z9hG4bK"

// Branch is the topmost Via's branch, "" when absent or RFC 2543's.
func (m *Message) Branch() string {
	b := m.text(m.branch)
	if len(b) <= len(Cookie) || string(b[:len(Cookie)]) != Cookie {
		return ""
	}
	return string(b)
}

// BranchText is the topmost Via's branch as written, RFC 2543's too; nil when absent.
func (m *Message) BranchText() []byte { return m.text(m.branch) }

// SentBy is the topmost Via's host and port as written, blanks around the colon included; empty when
// that Via was refused.
func (m *Message) SentBy() []byte { return m.text(m.sentBy) }

// TopVia is the topmost Via.
func (m *Message) TopVia() (ViaValue, error) { return ParseVia(m.topVia()) }

func (m *Message) topVia() []byte {
	for v := range m.Values(Via) {
		return v
	}
	return nil
}

// Seconds reads a delta-seconds field (Expires, Retry-After, Max-Forwards ...);
// found is false when it is absent or no number. What follows the number, a
// parameter or comment, is passed over. A value above 2^32-1 reads as 2^32-1.
func (m *Message) Seconds(n Name) (v uint32, found bool) {
	s := view(m.Value(n))
	end := 0
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	if rest := trimLeft(s[end:]); end == 0 || rest != "" && rest[0] != ';' && rest[0] != '(' {
		return 0, false
	}
	seconds, ok := number(s[:end], math.MaxUint32)
	if !ok {
		return math.MaxUint32, true
	}
	return uint32(seconds), true
}

// Body is the body, Content-Length long.
func (m *Message) Body() []byte { return m.text(m.body) }

// Trailing is how many octets stand behind the body that Content-Length names.
func (m *Message) Trailing() int { return len(m.raw) - int(m.body.to) }

// Bytes is the message as it came, with what came after it in a datagram.
func (m *Message) Bytes() []byte { return m.came }

// Keep returns a copy that owns its bytes and stays valid.
func (m *Message) Keep() *Message {
	k := *m
	k.came = bytes.Clone(m.came)
	k.raw = k.came
	if m.unfolded() {
		k.raw = bytes.Clone(m.raw)
	}
	k.fields = slices.Clone(m.fields)
	return &k
}

func (m *Message) unfolded() bool { return len(m.raw) > 0 && &m.raw[0] != &m.came[0] }

// Distrust removes what only partners may say: P-Asserted-Identity,
// P-Visited-Network-ID, P-Charging-Vector, Path, Roam-* (DESIGN 5). The
// transport calls it for whatever comes from a phone listener.
func (m *Message) Distrust() { m.distrust(partnersOnly) }

// DistrustForeign is Distrust of a partner that is no siproam: who calls, and by what way a phone is
// reached, it may say.
func (m *Message) DistrustForeign() { m.distrust(officesOnly) }

func (m *Message) distrust(not set) {
	m.drop(func(f field) bool {
		if f.name != OtherName {
			return not.has(f.name)
		}
		key := view(m.text(f.key))
		return len(key) >= len(ours) && equalFold(key[:len(ours)], ours)
	})
}

// ours begins the names of our own header fields.
const ours = "Roam-"

// drop takes fields out of the index.
func (m *Message) drop(bad func(field) bool) {
	if !slices.ContainsFunc(m.fields, bad) {
		return
	}
	m.fields = slices.DeleteFunc(m.fields, bad)
	m.first = [OtherName + 1]uint8{}
	for i := len(m.fields) - 1; i >= 0; i-- {
		m.first[m.fields[i].name] = uint8(i + 1)
	}
}
