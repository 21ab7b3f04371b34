package sip

// field is what we know of a header field's name.
type field struct {
	text    string // as we write it
	compact byte   // its one-letter form, 0: none
	single  bool   // may stand once only (RFC 3261 7.3.1); a second one is refused
	list    bool   // a comma separates values
}

var fields = [...]field{
	Via:                {"Via", 'v', false, true},
	From:               {"From", 'f', true, false},
	To:                 {"To", 't', true, false},
	CallID:             {"Call-ID", 'i', true, false},
	CSeq:               {"CSeq", 0, true, false},
	MaxForwards:        {"Max-Forwards", 0, true, false},
	Contact:            {"Contact", 'm', false, true},
	Expires:            {"Expires", 0, true, false},
	MinExpires:         {"Min-Expires", 0, true, false},
	Route:              {"Route", 0, false, true},
	RecordRoute:        {"Record-Route", 0, false, true},
	Path:               {"Path", 0, false, true},
	ServiceRoute:       {"Service-Route", 0, false, true},
	Require:            {"Require", 0, false, true},
	ProxyRequire:       {"Proxy-Require", 0, false, true},
	Supported:          {"Supported", 'k', false, true},
	Unsupported:        {"Unsupported", 0, false, true},
	Allow:              {"Allow", 0, false, true},
	Accept:             {"Accept", 0, false, true},
	AcceptEncoding:     {"Accept-Encoding", 0, false, true},
	AcceptLanguage:     {"Accept-Language", 0, false, true},
	ContentType:        {"Content-Type", 'c', true, false},
	ContentEncoding:    {"Content-Encoding", 'e', false, true},
	ContentLength:      {"Content-Length", 'l', true, false},
	ContentDisposition: {"Content-Disposition", 0, true, false},
	Authorization:      {"Authorization", 0, false, false},
	ProxyAuthorization: {"Proxy-Authorization", 0, false, false},
	WWWAuthenticate:    {"WWW-Authenticate", 0, false, false},
	ProxyAuthenticate:  {"Proxy-Authenticate", 0, false, false},
	AuthenticationInfo: {"Authentication-Info", 0, false, false},
	UserAgent:          {"User-Agent", 0, true, false},
	Server:             {"Server", 0, true, false},
	Date:               {"Date", 0, true, false},
	Subject:            {"Subject", 's', true, false},
	Event:              {"Event", 'o', true, false},
	AllowEvents:        {"Allow-Events", 'u', false, true},
	SubscriptionState:  {"Subscription-State", 0, true, false},
	Reason:             {"Reason", 0, false, true},
	RetryAfter:         {"Retry-After", 0, true, false},
	Warning:            {"Warning", 0, false, true},
	Replaces:           {"Replaces", 0, true, false},
	ReferTo:            {"Refer-To", 'r', true, false},
	ReferredBy:         {"Referred-By", 'b', true, false},
	SessionID:          {"Session-ID", 0, true, false},
	SessionExpires:     {"Session-Expires", 'x', true, false},
	MinSE:              {"Min-SE", 0, true, false},
	Privacy:            {"Privacy", 0, false, false},
	Diversion:          {"Diversion", 0, false, true},
	HistoryInfo:        {"History-Info", 0, false, true},
	AlertInfo:          {"Alert-Info", 0, false, true},
	PAssertedIdentity:  {"P-Asserted-Identity", 0, false, true},
	PPreferredIdentity: {"P-Preferred-Identity", 0, false, true},
	PVisitedNetworkID:  {"P-Visited-Network-ID", 0, false, true},
	PChargingVector:    {"P-Charging-Vector", 0, true, false},
	RoamTicket:         {"Roam-Ticket", 0, true, false},
	RoamEpoch:          {"Roam-Epoch", 0, true, false},
	RoamDigest:         {"Roam-Digest", 0, true, false},
	RoamService:        {"Roam-Service", 0, true, false},
	OtherName:          {},
}

// String is the field's name as we write it.
func (n Name) String() string { return fields[n].text }

var methods = [...]string{
	REGISTER: "REGISTER", INVITE: "INVITE", ACK: "ACK", BYE: "BYE", CANCEL: "CANCEL", OPTIONS: "OPTIONS",
	NOTIFY: "NOTIFY", SUBSCRIBE: "SUBSCRIBE", INFO: "INFO", UPDATE: "UPDATE", PRACK: "PRACK",
	REFER: "REFER", MESSAGE: "MESSAGE", PUBLISH: "PUBLISH", Other: "",
}

// String is the method's name; "" for Other.
func (m Method) String() string { return methods[m] }

// methodOf is the Method that text names, letter case counting (7.1).
func methodOf(text []byte) Method {
	for m := REGISTER; m < Other; m++ {
		if string(text) == methods[m] {
			return m
		}
	}
	return Other
}

// byLength finds names without allocation: candidates by their length.
var byLength [32][]Name

var byLetter [256]Name

func init() {
	for n := Via; n < OtherName; n++ {
		byLength[len(fields[n].text)] = append(byLength[len(fields[n].text)], n)
		if c := fields[n].compact; c != 0 {
			byLetter[c], byLetter[c-'a'+'A'] = n, n
		}
	}
}

// nameOf is the Name of a field's name in any letter case or its compact form.
func nameOf(b []byte) Name {
	if len(b) == 1 && byLetter[b[0]] != NoName {
		return byLetter[b[0]]
	}
	if len(b) >= len(byLength) {
		return OtherName
	}
	for _, n := range byLength[len(b)] {
		if equalFold(b, fields[n].text) {
			return n
		}
	}
	return OtherName
}

// equalFold compares ASCII in any letter case.
func equalFold[A, B []byte | string](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if x, y := a[i], b[i]; x != y && lower(x) != lower(y) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
