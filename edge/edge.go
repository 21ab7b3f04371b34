// Package edge is what stands between the registrar and the softswitches of an office when they are processes of their
// own (METHOD M16): Near beside each softswitch, Far beside the registrar. The softswitch takes Near for its registrar,
// the registrar takes Far for its softswitch; neither knows that the other is not in its process.
//
// Between the two goes SIP alone, on the partner listener, whose mutual TLS says by the name in the certificate which
// process of the office is at the other end. What says so is believed in both directions; whoever else says it is refused.
//
//	REGISTER, to the registrar     a phone's, as it sent it but for its Vias: Path: <sip:token@softswitch;lr;ob> names the flow
//	                               it came by (RFC 3327, RFC 5626 5.1), Roam-Flow says where from. The answer goes back to the phone
//	  with Roam-Digest             are these the credentials of a caller: 200, or the challenge
//	OPTIONS, to the registrar      another office's question for the office card, handed on
//	NOTIFY, Event: roam-edge       the softswitch lives: its load, and flows that have ended or fallen silent; every 5 s, and at once
//	NOTIFY, Event: roam-lines      who is behind which flow, with profile and home, and what to forget or to charge
//	NOTIFY, Event: roam-serve      METHOD d and h: may this line be served? 200, or 503 when there is no room
//
// A softswitch has the lines of everybody in the office, so it routes calls while the registrar is away. The registrar
// numbers what it tells: (its start, the telling of everything, the message), one message at a time. A softswitch takes what is
// newer and nothing else, so late and doubled messages change nothing; it says in roam-edge what it took last, and
// when that is not what the registrar told last, as after a restart of either, the registrar tells everything again. What was not among
// everything is forgotten only when all of it has come.
//
// A flow's token is its addresses with a MAC (package seal): a softswitch sends down no flow that it has not named itself.
package edge

import (
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// The event packages (RFC 6665 7.2), sent without a subscription as between offices.
const (
	EdgeEvent  = "roam-edge"
	LinesEvent = "roam-lines"
	ServeEvent = "roam-serve"
)

// bodyType is every body's. Each is JSON with a version.
const (
	bodyType   = "application/vnd.siproam.edge+json"
	docVersion = 1
)

const (
	helloEvery = 5 * time.Second
	helloAgain = time.Second
	awayAfter  = 12 * time.Second // without a hello; also how long a softswitch waits before it says that the registrar is away
	patience   = 4 * time.Second  // for an answer of the other side
)

// Process is one process of the office.
type Process struct {
	ID          roam.SwitchID // "" for the registrar
	URI         string        // of its partner listener
	Certificate string        // the name in its certificate is who it is
	Phones      string        // SIP URI where phones find it; "" : not told
}

// is says that f leads to p: the office's own flow, whose certificate has p's name.
func (p *Process) is(f *sip.Flow, here roam.OfficeID) bool {
	return f.Partner == here && slices.ContainsFunc(f.Names, func(n string) bool { return strings.EqualFold(n, p.Certificate) })
}

// isEvent says that m is of an event package.
func isEvent(m *sip.Message, event string) bool {
	e, _, _ := strings.Cut(string(m.Value(sip.Event)), ";")
	return strings.EqualFold(strings.TrimSpace(e), event)
}
