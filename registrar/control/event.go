// Package control decides registrations (METHOD 2, RFC 3261 10.3). It is pure: an event and the
// time go in, the next state and the actions to take come out. It has no socket, clock, store or
// goroutine; package registrar feeds it and does what it says.
//
// Three cores share the work. Inquiry is one REGISTER of somebody else's user until home has called
// it legal; Visit is the visited office's state of one device of a visitor; Home is the home
// office's state of one subscriber. State is a value: a Step that is refused, by a rule or by the
// disk, leaves the old one standing.
package control

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// Event is something that happened. The set is closed.
type Event interface{ event() }

type (
	// Register is a phone's REGISTER here (110, 200, 310). At home the digest was right before it gets this far.
	Register struct {
		Tx       uint64 // the request that waits for an Answer
		Device   roam.Device
		CallID   string
		CSeq     uint32
		Contacts []Contact  // with a Grant of zero: to be removed; none: a question
		Star     bool       // Contact: *, with Expires 0
		Switch   string     // SIP URI of the softswitch that holds the phone's flow; "": the office's own
		Person   bool       // evidence of a person since this device was superseded
		Plugged  time.Time  // when somebody plugged it in, as DHCP says; zero: long ago, or not known
		Next     roam.Epoch // drawn by the registrar when the change begins, used if this is a move
		Away     bool       // R does not answer: with Office.Strict no move can be acknowledged
	}
	// Registration is a visited office's registration message (160-170), its ticket opened and good.
	Registration struct {
		Tx        uint64
		Ticket    roam.Ticket
		Switch    string // SIP URIs of the visited office
		Registrar string
		CallID    string // of the message itself, and its CSeq: what comes after a later one of a Call-ID changes nothing (10.3)
		CSeq      uint32
		Contact   Contact // <sip:token@S1>; a Grant of zero ends the visit
		Next      roam.Epoch
		Away      bool // as in Register
	}
	// Located answers Locate: whom to ask, and who had the user before.
	Located struct {
		Card   roam.Card      // home's
		Former *roam.Location // of the office that had the user, when it is neither we nor home (340)
		Left   string         // as in Legal
		Why    roam.Refusal
	}
	// Queried answers Query: what home said of the credentials (150).
	Queried struct {
		Why     roam.Refusal
		Passed  bool // a challenge, already handed to the phone
		Ticket  roam.Ticket
		Profile *roam.Profile
		Silence Silence
		Silent  bool          // home was not heard: as Legal has it
		Granted time.Duration // by a foreign home, which has recorded the visit, too
	}
	// Legal begins or renews a visit: home has called the credentials good.
	Legal struct {
		Register
		Card    roam.Card
		Former  *roam.Location
		Ticket  roam.Ticket
		Profile *roam.Profile
		Silence Silence
		Silent  bool          // home was not heard: only who is here may stay, and home is told later
		Granted time.Duration // as in Queried
		Left    string        // of a foreign home's: the Contact that Former had there
	}
	// Renew is a visitor's REGISTER that Visit.Renews, before anybody has checked it.
	Renew struct {
		Register
		Silence Silence
	}
	// Renewed answers Renewal: what home said of the credentials, and what it recorded.
	Renewed struct {
		Why      roam.Refusal
		Passed   bool      // a challenge or a refusal, already handed to the phone
		Silent   bool      // as Legal has it
		Card     roam.Card // home's as it is known now; without an Office: as it was
		Ticket   roam.Ticket
		Profile  *roam.Profile
		Location roam.Location
		Grant    time.Duration
		Held     bool // as in Recorded
	}
	// Allocated answers Allocate (d, h).
	Allocated struct{ Why roam.Refusal }
	// Recorded answers Record: the location as home keeps it (170), or home's silence.
	Recorded struct {
		Why      roam.Refusal
		Location roam.Location
		Grant    time.Duration // zero: what was asked
		Confirms bool          // as in Record
		Held     bool          // R has acknowledged Location to home
	}
	// Saved answers Save and SaveVisit.
	Saved struct{ Err error }
	// Reported answers Report: what R holds now.
	Reported struct {
		Epoch    roam.Epoch // of the location that was reported
		Location roam.Location
		Err      error
	}
	// Superseded is the notice that this device is elsewhere now (250, 370-480).
	Superseded struct {
		Tx       uint64
		Epoch    roam.Epoch    // of the device's new visit, or of its return
		Location roam.Location // where calls for the user go now
	}
	// Profiled is home's word that the user's profile has changed (M18).
	Profiled struct {
		Tx      uint64
		Profile *roam.Profile
	}
	// Carded is the card that a visitor's home has now (M11).
	Carded struct{ Card roam.Card }
	// Settled answers Supersede. It names what was acknowledged: a late answer must not strike out a newer debt.
	Settled struct {
		To     string
		Device roam.Device
		Epoch  roam.Epoch
		Err    error
	}
	// Offline says that the device is gone without having said so (M12), or that an account ends.
	Offline struct {
		Tx     uint64 // of a visit: who waits; 0: nobody
		Device roam.Device
		All    bool      // every device
		Flow   roam.Flow // only what it carries of Device; zero: all
		URI    string    // of that only this Contact; "": all
		Next   roam.Epoch
		Why    string // for people; "": offline
	}
	// Due is the time asked for by Wake.
	Due struct{ Next roam.Epoch }
)

// Action is something the registrar must do. The set is closed.
type Action interface{ action() }

type (
	// Answer ends the wait of request Tx.
	Answer struct {
		Tx       uint64
		Why      roam.Refusal
		Location roam.Location // as home keeps it
		By       roam.OfficeID // with roam.Moved: where the user is registered instead
		Epoch    roam.Epoch    // of a supersede: what is acknowledged
		Grant    time.Duration // of a registration message
		Held     bool          // R has acknowledged Location
		Changed  bool          // what is bound has changed, and is saved
	}
	// Locate asks who User's home is, and who had the user last (120-130, 320-340).
	Locate struct{ User roam.UserID }
	// Query is the identity query (140, 350).
	Query struct {
		Tx uint64
		At string // home registrar
	}
	// Allocate has the softswitch serve (d, h).
	Allocate struct{ Line roam.Line }
	// Release has the softswitch stop serving a device (260, 480).
	Release struct {
		User   roam.UserID
		Device roam.Device
		Gone   roam.Location
	}
	// Record is the registration message (160); a Grant of zero ends the visit.
	Record struct {
		At     string
		Ticket roam.Ticket
		CallID string
		Edge   roam.SwitchID // that holds the flow of the newest binding
		Grant  time.Duration
		Can    *roam.Abilities

		Confirms bool // nothing has changed: see Confirm
	}
	// Renewal is Record with the phone's credentials in it: home checks and records at once.
	Renewal struct {
		Tx uint64
		Record
	}
	// Save has the row of a subscriber written; Saved answers it.
	Save struct{ Kept Kept }
	// SaveVisit has the row of a visit written, or deleted when it says nothing any more.
	SaveVisit struct{ Stay Stay }
	// Drift has the row written some time soon. Nothing answers it.
	Drift struct{}
	// Report tells R (180, 190, 240, 260, 480, 490, 500).
	Report struct {
		Location roam.Location
		Why      string
	}
	// Supersede tells a former office (250, 370).
	Supersede struct {
		To       string
		Contact  string // <sip:token@S1>, "" when only home knows it
		Device   roam.Device
		Epoch    roam.Epoch
		Location roam.Location
		Proof    string // home's ticket, when it is not home that sends this
	}
	// Wake asks for a Due at At. An earlier one stands.
	Wake struct{ At time.Time }
)

func (Register) event()     {}
func (Registration) event() {}
func (Located) event()      {}
func (Queried) event()      {}
func (Legal) event()        {}
func (Renew) event()        {}
func (Renewed) event()      {}
func (Allocated) event()    {}
func (Recorded) event()     {}
func (Saved) event()        {}
func (Reported) event()     {}
func (Superseded) event()   {}
func (Profiled) event()     {}
func (Carded) event()       {}
func (Settled) event()      {}
func (Offline) event()      {}
func (Due) event()          {}

func (Answer) action()    {}
func (Locate) action()    {}
func (Query) action()     {}
func (Allocate) action()  {}
func (Release) action()   {}
func (Record) action()    {}
func (Renewal) action()   {}
func (Save) action()      {}
func (SaveVisit) action() {}
func (Drift) action()     {}
func (Report) action()    {}
func (Supersede) action() {}
func (Wake) action()      {}

type stage uint8

const (
	allocating stage = iota
	recording
	saving
	publishing // strict: the answer waits for R
	renewing   // of a visit: home checks and records
	returning  // R did not acknowledge: what was is saved again, then the refusal is said
)

// Office is our own office and its policy, shared by all users.
type Office struct {
	Here     roam.Location                            // epoch zero
	Many     bool                                     // devices: many
	Quiet    bool                                     // home is not told that a visitor went offline: its record expires (M13)
	Strict   bool                                     // a 200 to a move waits for R, see strict.go
	Contacts int                                      // bindings a user may have; 0: 5
	Ticket   time.Duration                            // how long a ticket lives
	Max      time.Duration                            // the longest expiry; tombstones live twice as long. 0: 1 h
	Sign     func(roam.UserID, *roam.Location) string // home's signature of a new location; nil: none
	Equal    func(a, b string) bool                   // Contact URIs, RFC 3261 19.1.4; nil: as text
}

// Silence is the policy of M9 for a visitor whom home called legal but does not record.
type Silence struct {
	Refuse bool          // else the visitor is admitted
	Grant  time.Duration // granted while home does not answer; 0: 90 s
	Resend time.Duration // for so long the registration message is repeated; 0: 24 h
}

func (o *Office) equal(a, b string) bool {
	return a == b || o.Equal != nil && o.Equal(a, b)
}

func (o *Office) contacts() int       { return or(o.Contacts, 5) }
func (o *Office) keep() time.Duration { return 2 * or(o.Max, time.Hour) }

// remember is how long home knows what is over: as long as somebody may have a ticket of it.
func (o *Office) remember() time.Duration { return max(o.keep(), o.Ticket) }

func or[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// backoff is how long to wait after the tries'th attempt: 2 s doubling to 5 min.
func backoff(tries int) time.Duration {
	return min(2*time.Second<<min(tries, 10), 5*time.Minute)
}
