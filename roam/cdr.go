package roam

import "time"

// CDR is the charging record of one call attempt, answered or not (M8). One
// row in the serving office's file; a roaming user's record travels to the
// user's home, where ID makes it count once.
type CDR struct {
	Version  int      `json:"v"`
	ID       string   `json:"id"`      // unique over all offices
	Call     string   `json:"call"`    // the short id people use, "c7f2"
	ICID     string   `json:"icid"`    // RFC 7315 5.6, the same at both offices of a call
	Session  string   `json:"session"` // RFC 7989
	Office   OfficeID `json:"office"`  // who served the call and wrote this
	Home     OfficeID `json:"home"`    // whose ledger it belongs to: the home of User
	User     UserID   `json:"user"`    // whom the record is about
	Role     string   `json:"role"`    // "caller", "callee" or "forwarder": what User was
	From     string   `json:"from"`    // canonical caller
	To       string   `json:"to"`      // canonical callee
	Dialled  string   `json:"dialled"` // as the caller dialled it
	Kind     Kind     `json:"kind"`
	Roaming  bool     `json:"roaming"` // User was a visitor of Office
	Start    time.Time
	Answered time.Time // zero: not answered
	End      time.Time // zero: the call was still up when this was written
	Status   int       `json:"status"`          // final SIP status of the attempt
	Cause    int       `json:"q850"`            // ITU-T Q.850
	By       string    `json:"by"`              // who ended it: "caller", "callee", "office", "network"
	Reason   string    `json:"why,omitempty"`   // a stable word: "normal", "busy", "no answer", "media timeout", ...
	Codec    string    `json:"codec,omitempty"` // of the answer
	Media    [2]Traffic
}

// Traffic is what one side of a call sent to us.
type Traffic struct {
	Packets uint64  `json:"packets"`
	Octets  uint64  `json:"octets"`
	Lost    uint64  `json:"lost"`
	Jitter  float64 `json:"jitter_ms"`
}

// Kind says which of METHOD 4's calls this is, as this office sees it.
type Kind string

// The kinds of calls.
const (
	InOffice Kind = "in-office"     // both ends are here
	Outgoing Kind = "inter-office"  // from here to another office
	Incoming Kind = "from-office"   // from another office to here
	Transit  Kind = "via-home"      // a partner's call that home forwards to where its user is
	Trunk    Kind = "outside"       // to or from an outside line
	Unknown  Kind = "not-connected" // refused before its kind was known
)
