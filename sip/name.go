package sip

// names is how we write each header field's name.
var names = [...]string{
	NoName: "", Via: "Via", From: "From", To: "To", CallID: "Call-ID", CSeq: "CSeq", MaxForwards: "Max-Forwards",
	Contact: "Contact", Expires: "Expires", MinExpires: "Min-Expires", Route: "Route", RecordRoute: "Record-Route",
	Path: "Path", ServiceRoute: "Service-Route", Require: "Require", ProxyRequire: "Proxy-Require",
	Supported: "Supported", Unsupported: "Unsupported", Allow: "Allow", Accept: "Accept",
	AcceptEncoding: "Accept-Encoding", AcceptLanguage: "Accept-Language", ContentType: "Content-Type",
	ContentEncoding: "Content-Encoding", ContentLength: "Content-Length", ContentDisposition: "Content-Disposition",
	Authorization: "Authorization", ProxyAuthorization: "Proxy-Authorization", WWWAuthenticate: "WWW-Authenticate",
	ProxyAuthenticate: "Proxy-Authenticate", AuthenticationInfo: "Authentication-Info", UserAgent: "User-Agent",
	Server: "Server", Date: "Date", Subject: "Subject", Event: "Event", AllowEvents: "Allow-Events",
	SubscriptionState: "Subscription-State", Reason: "Reason", RetryAfter: "Retry-After", Warning: "Warning",
	Replaces: "Replaces", ReferTo: "Refer-To", ReferredBy: "Referred-By", SessionID: "Session-ID",
	SessionExpires: "Session-Expires", MinSE: "Min-SE", Privacy: "Privacy", Diversion: "Diversion",
	HistoryInfo: "History-Info", AlertInfo: "Alert-Info", PAssertedIdentity: "P-Asserted-Identity",
	PPreferredIdentity: "P-Preferred-Identity", PVisitedNetworkID: "P-Visited-Network-ID",
	PChargingVector: "P-Charging-Vector", RoamTicket: "Roam-Ticket", RoamEpoch: "Roam-Epoch",
	RoamDigest: "Roam-Digest", RoamService: "Roam-Service", RoamPath: "Roam-Path", OtherName: "",
}

// compact is the one-letter forms, by lower-case letter (RFC 3261 7.3.3, 3515, 3892, 4028, 6665).
var compact = [256]Name{
	'v': Via, 'f': From, 't': To, 'm': Contact, 'i': CallID, 'l': ContentLength, 'c': ContentType,
	'e': ContentEncoding, 's': Subject, 'k': Supported, 'r': ReferTo, 'b': ReferredBy, 'o': Event,
	'u': AllowEvents, 'x': SessionExpires,
}

// set is a set of Names.
type set uint64

func (s set) has(n Name) bool { return s>>n&1 == 1 }

func setOf(ns ...Name) (s set) {
	for _, n := range ns {
		s |= 1 << n
	}
	return s
}

var (
	// single may stand once: two of them would let two readers of one message disagree.
	single = setOf(From, To, CallID, CSeq, MaxForwards, ContentLength, ContentType,
		ContentDisposition, Expires, MinExpires, Event, SubscriptionState, ReferTo, ReferredBy, Replaces,
		SessionExpires, MinSE, SessionID, RetryAfter, Date, PChargingVector, RoamTicket, RoamEpoch, RoamDigest)

	// lists are comma lists (7.3.1).
	lists = setOf(Via, Contact, Route, RecordRoute, Path, ServiceRoute, Require, ProxyRequire, Supported,
		Unsupported, Allow, Accept, AcceptEncoding, AcceptLanguage, ContentEncoding, AllowEvents, Reason,
		Warning, Diversion, HistoryInfo, AlertInfo, PAssertedIdentity, PPreferredIdentity, PVisitedNetworkID,
		RoamService, RoamPath)

	// partnersOnly is what a phone may not say (DESIGN 5).
	partnersOnly = setOf(PAssertedIdentity, PVisitedNetworkID, PChargingVector, Path,
		RoamTicket, RoamEpoch, RoamDigest, RoamService, RoamPath)

	// officesOnly is what nobody but another siproam may say.
	officesOnly = partnersOnly &^ setOf(PAssertedIdentity, Path)
)

// A Name must fit a set.
const _ = uint(63 - OtherName)

// byShape finds the first Name of a length and first letter; alike finds the next one.
var byShape, alike = shapes()

func shapes() (first [32][32]Name, next [OtherName]Name) {
	for n := OtherName - 1; n > NoName; n-- {
		at := &first[len(names[n])&31][names[n][0]&31]
		next[n], *at = *at, n
	}
	return first, next
}

// lookup is the Name of a field name as written; NoName when it is no token (25.1).
func lookup(name string) Name {
	switch len(name) {
	case 0:
		return NoName
	case 1:
		if n := compact[name[0]|0x20]; n != NoName { // only letters become letters
			return n
		}
	}
	first := byShape[len(name)&31][name[0]&31]
	for n := first; n != NoName; n = alike[n] {
		if names[n] == name {
			return n
		}
	}
	if !every(name, token) {
		return NoName
	}
	for n := first; n != NoName; n = alike[n] {
		if equalFold(names[n], name) {
			return n
		}
	}
	return OtherName
}

// String is the name as we write it, "" for OtherName.
func (n Name) String() string {
	if n > OtherName {
		return ""
	}
	return names[n]
}

var methods = [...]string{
	NoMethod: "", REGISTER: "REGISTER", INVITE: "INVITE", ACK: "ACK", BYE: "BYE", CANCEL: "CANCEL",
	OPTIONS: "OPTIONS", NOTIFY: "NOTIFY", SUBSCRIBE: "SUBSCRIBE", INFO: "INFO", UPDATE: "UPDATE",
	PRACK: "PRACK", REFER: "REFER", MESSAGE: "MESSAGE", PUBLISH: "PUBLISH", Other: "",
}

// String is the method as it is written, "" for NoMethod and Other.
func (m Method) String() string {
	if m > Other {
		return ""
	}
	return methods[m]
}

// methodOf reads a method. Methods are case-sensitive (7.1): "invite" is Other.
func methodOf(s string) Method {
	for m := REGISTER; m < Other; m++ {
		if methods[m] == s {
			return m
		}
	}
	return Other
}
