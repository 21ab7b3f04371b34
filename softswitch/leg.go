package softswitch

import (
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
)

// Leg is one dialog of a call seen from us (RFC 7092): "A" came in, "B1", "B2" went out.
type Leg struct {
	call   *Call
	name   string
	d      *dialog.Dialog
	callID string
	flow   *sip.Flow     // nil: not known yet
	user   roam.UserID   // whose phone it is; "" behind another office
	device roam.Device   // which, "" when it has no name
	office roam.OfficeID // the office at the other end, ""
	at     string        // its softswitch
	peer   media.Peer
	flows  []roam.Target // other flows to the same phone, not tried yet

	replaced bool // one of them was tried
	rang     bool // it gave a sign of life beyond 100
	over     bool // nothing more comes from it, or is sent on it
	counted  bool // Switch.with has it
	stray    bool // somebody else was at the office's address: that says nothing of the office

	answer    []byte      // the SDP it gave before its 200, as the caller got it
	code      int         // what it refused with; 408: nothing
	cause     int         // the Q.850 cause it gave, 0: none
	challenge []sip.Field // of a foreign home to its own user

	owes *Leg        // our ACK to it waits for the ACK of this leg, which has the answer; BYE sends it, too
	try  *loop.Timer // a short try ends
}

// Progress takes what the phone or office at the other end of a B leg says to our INVITE. An
// answer to one that was taken back does not come here: its dialog ends it (9.1, 15).
func (l *Leg) Progress(res *sip.Message) {
	c := l.call
	if f := l.d.Flow(); f != nil {
		l.flow, l.peer = f, peerOf(f)
	}
	l.rang = true
	l.try.Stop()
	if res.Status() >= 200 {
		c.answer(l, res)
	} else {
		c.progress(l, res)
	}
}

// Ended is told once that the dialog of the leg is over.
func (l *Leg) Ended(e dialog.End) {
	if l.over {
		return
	}
	l.closed()
	l.try.Stop()
	c := l.call
	switch {
	case l == c.b || l == c.a && c.b != nil:
		c.hungUp(l, e)
	case l == c.a:
		c.cancelled(e)
	default:
		c.declined(l, e)
	}
}

// bye ends the leg with a Reason, or its unanswered INVITE with code.
func (l *Leg) bye(code int, reason string) {
	l.try.Stop()
	if l.over || l.d == nil {
		return
	}
	l.closed()
	l.d.Bye(code, reason)
}

// Admit is dialog.Guard's: a request on another flow than the dialog's so far must come from another flow
// of the same user, or show the flow token it was given: from the same address, or from anywhere
// when the token has only travelled encrypted (a phone that leaves the Wi-Fi). Where an office that was
// started again cannot know the token, the address must do. That an office's request comes from that
// office the dialog itself sees to.
func (l *Leg) Admit(f *sip.Flow, p dialog.Proof) bool {
	if l.office != "" || l.flow == nil {
		return true
	}
	if user, found, _ := l.call.s.dir.Whose(f, []sip.AOR{sip.AOR(l.user)}); found && user == l.user {
		return true
	}
	near := f.Remote.Addr().Unmap() == l.flow.Remote.Addr().Unmap()
	switch p {
	case dialog.Unnamed:
		return near
	case dialog.Shown:
		return near || encrypted(f) && encrypted(l.flow)
	}
	return false
}

// Returned is dialog.Returner's: the living flow that the leg's phone has registered by now. A phone without a
// name is taken for the only one that lives; another would answer that it knows of no such call.
func (l *Leg) Returned() *sip.Flow {
	if l.office != "" || l.user == "" {
		return nil
	}
	s := l.call.s
	line, _ := s.dir.Line(l.user)
	var living []*sip.Flow
	for _, t := range line.Targets {
		if t.Office != "" || t.Flow == (roam.Flow{}) || t.Device != l.device {
			continue
		}
		if to, err := s.tl.Target(t); err == nil {
			living = append(living, to.Flow)
		}
	}
	if len(living) == 0 || l.device == "" && len(living) > 1 {
		return nil
	}
	return living[0]
}

// deviceOn is which of line's phones f is of.
func deviceOn(line *roam.Line, f *sip.Flow) roam.Device {
	for _, t := range line.Targets {
		if t.Flow == f.Flow {
			return t.Device
		}
	}
	return ""
}

// encrypted says that nobody on the way reads what f carries.
func encrypted(f *sip.Flow) bool { return f.Transport == roam.TLS || f.Transport == roam.WSS }

// other is the leg that l talks with, nil before the answer.
func (c *Call) other(l *Leg) *Leg {
	switch l {
	case c.b:
		return c.a
	case c.a:
		return c.b
	}
	return nil
}
