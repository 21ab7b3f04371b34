// Package sip reads and writes SIP messages (RFC 3261 7, 19, 20, 25). Bytes in,
// values out: no socket, no clock, no policy.
//
// Parse is strict where two readers might disagree, a parser of somebody else's and
// ours: framing, fields that may stand once, quotes and brackets. What it accepts
// needs no second look by whoever copies it. testdata/sip/verdicts.tsv says what
// becomes of each message of RFC 4475 and RFC 5118.
package sip

import (
	"github.com/siproam/siproam/roam"
)

// Method is a request method; Other is one we do not name (MethodText has it).
type Method uint8

// The methods.
const (
	NoMethod Method = iota // a response
	REGISTER
	INVITE
	ACK
	BYE
	CANCEL
	OPTIONS
	NOTIFY
	SUBSCRIBE
	INFO
	UPDATE
	PRACK
	REFER
	MESSAGE
	PUBLISH
	Other
)

// Name is a header field's name. Compact forms and any letter case read as the same Name.
type Name uint8

// The header fields we name. Others are still indexed, kept and iterable by text (Message.Other).
const (
	NoName Name = iota
	Via
	From
	To
	CallID
	CSeq
	MaxForwards
	Contact
	Expires
	MinExpires
	Route
	RecordRoute
	Path
	ServiceRoute
	Require
	ProxyRequire
	Supported
	Unsupported
	Allow
	Accept
	AcceptEncoding
	AcceptLanguage
	ContentType
	ContentEncoding
	ContentLength
	ContentDisposition
	Authorization
	ProxyAuthorization
	WWWAuthenticate
	ProxyAuthenticate
	AuthenticationInfo
	UserAgent
	Server
	Date
	Subject
	Event
	AllowEvents
	SubscriptionState
	Reason
	RetryAfter
	Warning
	Replaces
	ReferTo
	ReferredBy
	SessionID
	SessionExpires
	MinSE
	Privacy
	Diversion
	HistoryInfo
	AlertInfo
	PAssertedIdentity
	PPreferredIdentity
	PVisitedNetworkID
	PChargingVector
	RoamTicket  // Roam-Ticket: home's signed ticket
	RoamEpoch   // Roam-Epoch: the epoch of the location a request was routed by
	RoamDigest  // Roam-Digest: method and uri of the request whose Authorization an identity query carries
	RoamService // Roam-Service: services of the callee that have run already
	RoamPath    // Roam-Path: offices that a call came through, or found silent
	OtherName
)

// Field is one header field to write.
type Field struct {
	Name  Name
	Value string
}

// Flow is the path a message came by. A response, or a request to a phone, goes
// back by it. It is immutable once made, but for what its transport owns.
type Flow struct {
	roam.Flow               // comparable name of the path
	Here      string        // our host:port as the other end sees it (advertise, uri or the interface), for Via and Contact
	Names     []string      // verified certificate names of the other end
	Partner   roam.OfficeID // the office at the other end; "" on a phone listener, whatever the headers say
	Foreign   roam.OfficeID // a partner that is no siproam, known by where it comes from: never trusted with what Partner is
}

// Office is the partner of either kind at the other end, "" for a phone.
func (f *Flow) Office() roam.OfficeID {
	if f.Partner != "" {
		return f.Partner
	}
	return f.Foreign
}

// Hop is where to send next (RFC 3263).
type Hop struct {
	Transport roam.Transport
	Addr      string // ip:port
	Name      string // the name a certificate must have
}

// Refused is a refusal with the header fields that must go with it: a
// challenge, Min-Expires, Unsupported, Retry-After.
type Refused struct {
	Why    roam.Refusal
	Code   int    // 0: the table's code for Why; from Parse: no answer at all
	Reason string // "": the table's words for the code
	Fields []Field
	Close  bool // the framing is in doubt: a stream must be closed after the answer
}

// Error is the refusal in words.
func (r *Refused) Error() string { return r.Why.Error() }

// Unwrap gives the roam.Refusal.
func (r *Refused) Unwrap() error { return r.Why }
