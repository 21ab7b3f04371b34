package transaction

import (
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/sip"
)

// name computes what s is found by.
func (s *Server) name() {
	if s.key == 0 {
		s.key = s.layer.serverHash(s.req, s.method)
	}
	if s.merge == 0 && s.method != sip.REGISTER && s.req.ToTag() == "" {
		s.merge = s.layer.mergeHash(s.req)
	}
}

// list puts s into the tables.
func (s *Server) list() {
	s.name()
	l := s.layer
	l.servers[s.key], s.listed = s, true
	if s.merge != 0 {
		l.merged[s.merge] = s
	}
}

// delist takes s out of them.
func (s *Server) delist() {
	if l := s.layer; s.listed {
		s.listed = false
		delete(l.servers, s.key)
		if s.merge != 0 && l.merged[s.merge] == s {
			delete(l.merged, s.merge)
		}
	}
}

// gone ends the transaction.
func (s *Server) gone() {
	s.state = terminated
	s.onCancel = nil
	s.repeat.Stop()
	s.end.Stop()
	s.delist()
}

// forgotten says that an answer with code ends the transaction at once (8.2.7). What is refused
// in its turn outside a dialog changed nothing and would be refused again, so that a flood
// finds nothing to fill; so does a stranger's INVITE, which no timer of ours repeats an answer to.
func (s *Server) forgotten(code int) bool {
	switch {
	case s.brief() || s.method == sip.CANCEL:
		return true
	case !s.held && code >= 300 && (code == 481 || s.req.ToTag() == ""):
		return true
	case s.method == sip.INVITE && code >= 300 && !s.proven():
		return true
	}
	return s.method != sip.INVITE && s.flow.Transport.Stream() && s.flow.Office() == "" // Timer J is 0; another office may resend
}

// untimely says that only an INVITE may be answered so: of other requests nobody waits for news but 100, and a 408 comes
// when who asked has given up, and ends the dialog of who has not (RFC 4320 4.1, 4.2).
func untimely(code int) bool { return code == 408 || code > 100 && code < 200 }

// send sends an answer and goes to the state that follows from it (17.2).
func (s *Server) send(code int, b []byte) error {
	l := s.layer
	if s.method != sip.INVITE && untimely(code) {
		return errUntimely
	}
	if code < 200 {
		s.Hold()
		s.state = proceeding
		s.last = append(s.last[:0], b...)
		return l.sender.Send(s.flow, b)
	}
	var err error
	b = s.fitting(code, b)
	if b != nil {
		err = l.sender.Send(s.flow, b)
	}
	s.repeat.Stop()
	s.end.Stop()
	s.onCancel, s.cancelled = nil, nil
	if b == nil || s.forgotten(code) {
		s.gone()
		return err
	}
	switch {
	case s.method != sip.INVITE:
		s.state = completed
		s.leave(code, b)
	case code < 300:
		s.state = accepted
		s.last = append(s.last[:0], b...)
		s.leave(code, b)
	default:
		if s.state = completed; !s.listed {
			s.list()
		}
		s.last = append(s.last[:0], b...)
		l.loop.Set(&s.end, timerH, s)
		if !s.flow.Transport.Stream() {
			s.wait = T1
			l.loop.Set(&s.repeat, T1, s)
		}
	}
	return err
}

// Alarm is loop.Alarm's: one of the timers is due.
func (s *Server) Alarm(t *loop.Timer) {
	switch {
	case t == &s.end && s.Answered():
		s.gone()
	case t == &s.end:
		s.Refuse(errTooLate)
	case s.state == trying && s.proven():
		s.trying()
	case s.state == completed: // G repeats a refusal until its ACK comes, doubling to T2 (17.2.1)
		s.again()
		s.wait = min(2*s.wait, T2)
		s.layer.loop.Set(&s.repeat, s.wait, s)
	}
}

// again sends the last answer once more.
func (s *Server) again() {
	switch {
	case s.last != nil:
		s.Repeat()
	case s.state == proceeding:
		s.layer.repeatedOut.Add(1)
		s.trying()
	}
}

// Repeat sends a 2xx to an INVITE again, as it was.
func (s *Server) Repeat() {
	if s.last != nil {
		s.layer.repeat(packet{s.flow, s.last})
	}
}

// acked takes the ACK to a refusal; absorbed is false when there was none.
func (s *Server) acked() (absorbed bool) {
	if s.state != completed {
		return false
	}
	s.gone()
	if s.state = confirmed; !s.flow.Transport.Stream() {
		s.layer.confirmed.put(s, 0)
	}
	return true
}
