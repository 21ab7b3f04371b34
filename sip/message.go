package sip

import "iter"

// Message is one request or response: an index over the bytes it came in. It
// borrows them until the turn of the loop ends; Keep makes one that owns its bytes.
type Message struct {
	Flow *Flow // how it came; set by the transport, nil in a message of our own

	raw []byte
}

// Parse reads one whole message (a datagram; a stream's framer hands over exactly
// one). On error, a *Refused names the answer a request deserves (its Code; Code
// 0 means drop: a response, or hopeless) and m is good enough to answer from.
// Octets after Content-Length are ignored. m's index is reused when large enough.
func Parse(b []byte, m *Message) error { panic("sip: not built") }

// IsRequest says that m is a request.
func (m *Message) IsRequest() bool { panic("sip: not built") }

// Method is the request's method (RFC 3261 7.1); of a response, the method of CSeq.
func (m *Message) Method() Method { panic("sip: not built") }

// MethodText is the method as written, letter case kept.
func (m *Message) MethodText() string { panic("sip: not built") }

// Status is the status code; 0 for a request.
func (m *Message) Status() int { panic("sip: not built") }

// Reason is the reason phrase of a response.
func (m *Message) Reason() string { panic("sip: not built") }

// RequestURI is the Request-URI as written; ParseURI reads it.
func (m *Message) RequestURI() []byte { panic("sip: not built") }

// Value is the first value of n, unfolded and trimmed, nil when absent. A
// comma list is not split.
func (m *Message) Value(n Name) []byte { panic("sip: not built") }

// Values yields every value of n in order, comma lists split where the field
// allows them (Contact, Route, Via, Require ...).
func (m *Message) Values(n Name) iter.Seq[[]byte] { panic("sip: not built") }

// Other is the first value of a header field we have no Name for.
func (m *Message) Other(name string) []byte { panic("sip: not built") }

// Has says that the comma list n holds token, in any letter case (Require: 100rel).
func (m *Message) Has(n Name, token string) bool { panic("sip: not built") }

// CallID is the Call-ID.
func (m *Message) CallID() string { panic("sip: not built") }

// CSeq is the CSeq number.
func (m *Message) CSeq() uint32 { panic("sip: not built") }

// FromTag and ToTag are the tags, "" when absent.
func (m *Message) FromTag() string { panic("sip: not built") }

// ToTag is the To tag, "" when absent.
func (m *Message) ToTag() string { panic("sip: not built") }

// From is the From address.
func (m *Message) From() (Address, error) { panic("sip: not built") }

// To is the To address.
func (m *Message) To() (Address, error) { panic("sip: not built") }

// Branch is the topmost Via's branch, "" when absent or RFC 2543's.
func (m *Message) Branch() string { panic("sip: not built") }

// TopVia is the topmost Via.
func (m *Message) TopVia() (ViaValue, error) { panic("sip: not built") }

// Seconds reads a delta-seconds field (Expires, Retry-After, Max-Forwards ...);
// found is false when absent. A value above 2^32-1 reads as 2^32-1.
func (m *Message) Seconds(n Name) (v uint32, found bool) { panic("sip: not built") }

// Body is the body, Content-Length long.
func (m *Message) Body() []byte { panic("sip: not built") }

// Bytes is the message as it came.
func (m *Message) Bytes() []byte { panic("sip: not built") }

// Keep returns a copy that owns its bytes and stays valid.
func (m *Message) Keep() *Message { panic("sip: not built") }

// Distrust removes what only partners may say: P-Asserted-Identity,
// P-Visited-Network-ID, P-Charging-Vector, Path, Roam-* (DESIGN 5). The
// transport calls it for whatever comes from a phone listener.
func (m *Message) Distrust() { panic("sip: not built") }
