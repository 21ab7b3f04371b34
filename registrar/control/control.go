// Package control decides registrations (METHOD 2). It is pure: an event and the
// time go in, the next state and the actions to take come out. It has no socket,
// clock, store or goroutine; package registrar feeds it and does what it says.
package control

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// Event is something that happened. The set is closed.
type Event interface{ event() }

type (
	// Register is a phone's REGISTER here. At home the digest was right before it gets this far.
	Register struct {
		Tx      uint64 // the request that waits for an Answer
		Contact Contact
		Person  bool       // evidence of a person since this device was superseded
		Next    roam.Epoch // drawn by the registrar, used if this is a move
	}
	// Registration is a visited office's registration message (160-170), its ticket opened and good.
	Registration struct {
		Tx                       uint64
		Ticket                   roam.Ticket
		Switch, Registrar, Token string
		Grant                    time.Duration
		Next                     roam.Epoch
	}
	// Located answers Locate: whom to ask.
	Located struct {
		Card roam.Card
		Why  roam.Refusal
	}
	// Queried answers Query: what home said of the credentials (150).
	Queried struct {
		Why     roam.Refusal
		Passed  bool // a challenge, already handed to the phone
		Ticket  roam.Ticket
		Profile *roam.Profile
	}
	// Legal begins or renews a visit: home has called the credentials good.
	Legal struct {
		Register
		Card    roam.Card
		Ticket  roam.Ticket
		Profile *roam.Profile
	}
	Allocated struct{ Why roam.Refusal }
	// Recorded answers Record: the location as home keeps it (170), or home's silence.
	Recorded struct {
		Why      roam.Refusal
		Location roam.Location
	}
	Saved    struct{ Err error }
	Reported struct {
		Location roam.Location // what R holds now
		Err      error
	}
	// Superseded is the notice that this device is elsewhere now (250, 370-480).
	Superseded struct {
		Tx       uint64
		Epoch    roam.Epoch
		Location roam.Location
	}
	Settled struct { // answers Supersede
		To     string
		Device roam.Device
		Epoch  roam.Epoch
		Err    error
	}
	Offline struct { // Expires 0, or the softswitch noticed (M12)
		Device roam.Device
		Office roam.OfficeID
	}
	Due struct{} // the time asked for by Wake has come
)

// Action is something the registrar must do. The set is closed.
type Action interface{ action() }

type (
	Answer struct {
		Tx       uint64
		Why      roam.Refusal
		Location roam.Location
		Expires  time.Duration
	}
	Locate struct{ User roam.UserID }
	Query  struct {
		Tx uint64
		At string // home registrar
	}
	Allocate struct{ Line roam.Line }
	Release  struct {
		User   roam.UserID
		Device roam.Device
		Gone   roam.Location
	}
	Record struct {
		At     string
		Ticket roam.Ticket
		Grant  time.Duration
	}
	Save      struct{}
	Report    struct{ Location roam.Location }
	Supersede struct {
		To       string
		Device   roam.Device
		Epoch    roam.Epoch
		Location roam.Location
	}
	Wake struct{ At time.Time }
)

func (Register) event()     {}
func (Registration) event() {}
func (Located) event()      {}
func (Queried) event()      {}
func (Legal) event()        {}
func (Allocated) event()    {}
func (Recorded) event()     {}
func (Saved) event()        {}
func (Reported) event()     {}
func (Superseded) event()   {}
func (Settled) event()      {}
func (Offline) event()      {}
func (Due) event()          {}

func (Answer) action()    {}
func (Locate) action()    {}
func (Query) action()     {}
func (Allocate) action()  {}
func (Release) action()   {}
func (Record) action()    {}
func (Save) action()      {}
func (Report) action()    {}
func (Supersede) action() {}
func (Wake) action()      {}

// Contact is one binding of one phone here.
type Contact struct {
	Target roam.Target
	Device roam.Device
	CallID string
	CSeq   uint32
	Grant  time.Duration
	Until  time.Time
}

type stage uint8

const (
	idle stage = iota
	allocating
	recording
	saving
	reporting
)
