package softswitch

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/softswitch/plan"
)

// Call is an A leg, the B legs it rings, and their media. It is routed, rings, is
// answered (b is set) and ends (over); it leaves Switch.calls when its records are safe.
type Call struct {
	s       *Switch
	id      string // short, for people
	number  uint64 // since the start
	own     string // unique over all offices: node, start, number
	icid    string // RFC 7315 5.6: ours, or the calling office's
	session string // RFC 7989: the caller's end, 32 hex digits
	far     string // the callee's

	start, rang, answered time.Time
	kind                  roam.Kind

	caller  party
	callee  party
	dialled string
	from    roam.OfficeID // the partner it came from; "": a phone here
	epoch   roam.Epoch    // of the location the partner routed by
	behind  behind
	taken   bool          // home rang the callee's devices here and elsewhere, and one elsewhere has answered
	dead    roam.OfficeID // an office that was not asked, since nobody answers there
	subject string

	credentials []string // the caller's for his foreign home, untouched

	invite *transaction.Server // the A leg's INVITE, until it is answered
	offer  []byte              // its SDP; nil: the callee offers (late offer)
	a      *Leg
	bs     []*Leg
	b      *Leg // the one that won
	early  *Leg // whose SDP the caller was given before the answer
	bridge bridge

	tries []try // offices asked
	timer *loop.Timer

	diverted   []diversion // who has forwarded it, in order
	before     int         // so many of them at other offices
	unanswered *loop.Timer // it goes elsewhere when nobody answers
	ended      *ending     // once it is over

	max   uint32 // Max-Forwards of the B legs
	round int32  // where in bs those begin that ring now; the ones before are offices that were asked
	told  int32  // the last provisional code the caller was given
	rows  int32  // writes of its records on their way to disk

	counted bool          // the gauge of kind has it
	private bool          // the caller is not to be shown (RFC 3323)
	reread  bool          // R was asked past its cache
	askHome bool          // home was asked
	local   bool          // the callee is, or would be, served here
	short   roam.OfficeID // whose extension the dialling plan says that it is
	served  bool          // a partner has performed the callee's services
	over    bool
}

// party is one end of a call.
type party struct {
	plan.Identity
	user    roam.UserID // "" when unknown
	address string      // canonical, also of a foreign caller; "": user
	home    roam.OfficeID
	line    *roam.Line // what the directory says; nil when it says nothing, and once the call is answered
	known   bool
	visitor bool
	counted bool // Switch.busy has it
	limit   int  // how many calls at once the profile allows, 0: any number
}

// nobody is the line of who is not known here.
var nobody roam.Line

// at is what the directory says of p, for reading.
func (p *party) at() *roam.Line {
	if p.line == nil {
		return &nobody
	}
	return p.line
}

// learn takes what the directory says.
func (p *party) learn(line roam.Line) {
	p.line, p.known, p.visitor, p.limit = &line, true, line.Visitor, 0
	if line.Profile != nil {
		p.limit = line.Profile.Calls
	}
}

// shown is the party as records name it.
func (p *party) shown() string {
	if p.user != "" {
		return string(p.user)
	}
	return p.address
}

// know fills in what our directory has of user; found is false when that is nothing.
func (s *Switch) know(user roam.UserID) (p party, found bool) {
	p = party{user: user}
	p.Identity.User = user
	line, found := s.dir.Line(user)
	if !found {
		return p, false
	}
	p.learn(line)
	p.home = s.cfg.Card.Office
	if line.Visitor {
		p.home = line.Home.Office
	}
	if pr := line.Profile; pr != nil {
		p.Name, p.Number = pr.Name, pr.Number
	}
	return p, true
}

// numbers is the dialling plan of p, and domain the one its short numbers belong to.
func (s *Switch) numbers(p *party) (n *roam.Numbers, domain string) {
	card := &s.cfg.Card
	n = &s.cfg.Numbers
	if p.visitor {
		card, n = &p.line.Home, nil
		if p.line.Profile != nil {
			n = p.line.Profile.Dial
		}
	}
	if len(card.Domains) > 0 {
		domain = card.Domains[0]
	}
	return n, domain
}

// newCall makes the call of req and takes its A leg. from is the partner whose word it is, "" for a phone of ours. From here on the attempt leaves a record.
func (s *Switch) newCall(tx *transaction.Server, req *sip.Message, caller party, from roam.OfficeID) *Call {
	s.made++
	c := &Call{s: s, number: s.made, id: shortID(s.made), start: s.loop.Now(), kind: roam.Unknown, caller: caller,
		from: from, invite: tx, max: forwards(req) - 1, far: noSession}
	c.own = s.unique + strconv.FormatUint(s.made, 36)
	c.icid = c.own
	c.read(req)
	c.a = &Leg{call: c, name: "A", user: caller.user, device: deviceOn(caller.at(), req.Flow), flow: req.Flow, office: from, peer: peerOf(req.Flow)}
	s.calls[c.id] = c
	s.take(&c.caller)
	c.timer = s.loop.After(s.cfg.RingFor, func() { // Timer C (16.6 step 11), for the whole attempt
		c.stop(ending{status: 480, cause: 19, by: "office", why: "no answer"})
	})
	c.a.d = s.dialogs.Accept(tx, "", c.a)
	c.a.callID, _, _ = c.a.d.ID()
	return c
}

// shortID is the number of a call for people: four hexadecimal digits, or more.
func shortID(n uint64) string {
	var room [20]byte
	b := strconv.AppendUint(room[:4], n, 16)
	pad := max(0, 8-len(b))
	copy(room[:4], "0000")
	return string(b[4-pad:])
}

// settle drops what only routing and ringing needed: an answered call may stand for hours, with thousands beside it.
func (c *Call) settle() {
	c.caller.line, c.callee.line, c.invite, c.offer, c.timer, c.unanswered, c.credentials = nil, nil, nil, nil, nil, nil, nil
	for i := range c.diverted {
		c.diverted[i].by.line = nil
	}
	c.bs = slices.Clip(c.bs)
	for _, l := range c.bs {
		l.flows, l.answer, l.try = nil, nil, nil
	}
}

// take counts one more call of p, give one less.
func (s *Switch) take(p *party) {
	if p.user != "" && !p.counted {
		p.counted = true
		s.busy[p.user]++
	}
}

func (s *Switch) give(p *party) {
	if !p.counted {
		return
	}
	p.counted = false
	if s.busy[p.user]--; s.busy[p.user] <= 0 {
		delete(s.busy, p.user)
	}
}

// full says that p has as many calls as the profile allows.
func (s *Switch) full(p *party) bool { return p.limit > 0 && s.busy[p.user] >= p.limit }

// setKind says what kind of call this is, once it is known.
func (c *Call) setKind(k roam.Kind) {
	if c.counted {
		c.s.count.up(c.kind, -1)
	}
	c.kind, c.counted = k, true
	c.s.count.up(k, 1)
}

// newSession is a fresh UUID for Session-ID (RFC 7989 4.1).
func newSession() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return hex.EncodeToString(b[:])
}
