package transaction

import (
	"time"

	"github.com/siproam/siproam/sip"
)

// list puts s into the tables.
func (s *Server) list() {
	l := s.layer
	s.key = string(l.serverKey(s.req, s.method))
	l.servers[s.key] = s
	if s.method != sip.REGISTER && s.req.ToTag() == "" {
		s.merge = string(l.mergeKey(s.req))
		l.merged[s.merge] = s
	}
	l.count()
}

// gone ends the transaction.
func (s *Server) gone() {
	l := s.layer
	s.state = terminated
	s.onCancel = nil
	s.repeat.Stop()
	s.end.Stop()
	if s.key == "" {
		return
	}
	delete(l.servers, s.key)
	if s.merge != "" && l.merged[s.merge] == s {
		delete(l.merged, s.merge)
	}
	s.key = ""
	l.count()
}

// forgotten says that an answer with code ends the transaction at once (8.2.7). What is refused
// in its turn outside a dialog changed nothing and would be refused again, so that a flood
// finds nothing to fill.
func (s *Server) forgotten(code int) bool {
	switch {
	case s.method == sip.REGISTER || s.method == sip.OPTIONS || s.method == sip.CANCEL:
		return true
	case !s.held && code >= 300 && (code == 481 || s.req.ToTag() == ""):
		return true
	}
	return s.method != sip.INVITE && s.flow.Transport.Stream() // Timer J is 0
}

// send sends an answer and goes to the state that follows from it (17.2).
func (s *Server) send(code int, b []byte) error {
	l := s.layer
	if code < 200 {
		s.Hold()
		s.state = proceeding
		s.last = append(s.last[:0], b...)
		return l.sender.Send(s.flow, b)
	}
	err := l.sender.Send(s.flow, b)
	s.repeat.Stop()
	s.end.Stop()
	s.onCancel, s.cancelled = nil, nil
	if s.forgotten(code) {
		s.gone()
		return err
	}
	if s.key == "" {
		s.list()
	}
	s.last = append(s.last[:0], b...)
	switch {
	case s.method != sip.INVITE:
		s.state = completed
		s.end = l.loop.After(timerJ, s.gone)
	case code < 300:
		s.state = accepted
		s.end = l.loop.After(timerL, s.gone)
	default:
		s.state = completed
		s.end = l.loop.After(timerH, s.gone)
		if !s.flow.Transport.Stream() {
			s.timerG(T1)
		}
	}
	return err
}

// timerG repeats a refusal until its ACK comes, doubling to T2 (17.2.1).
func (s *Server) timerG(after time.Duration) {
	s.repeat = s.layer.loop.After(after, func() {
		s.again()
		s.timerG(min(2*after, T2))
	})
}

// again sends the last answer once more. A repeated INVITE that was accepted or whose
// refusal is confirmed is absorbed (RFC 6026 7.1).
func (s *Server) again() {
	if s.last != nil && (s.state == proceeding || s.state == completed) {
		s.Repeat()
	}
}

// Repeat sends a 2xx to an INVITE again, as it was.
func (s *Server) Repeat() {
	if s.last == nil {
		return
	}
	s.layer.repeatedOut.Add(1)
	_ = s.layer.sender.Send(s.flow, s.last) // a lost connection ends by its timers
}

// acked takes an ACK; absorbed is false for one that is the dialog's.
func (s *Server) acked() (absorbed bool) {
	switch s.state {
	case accepted:
		return false
	case completed:
		s.repeat.Stop()
		s.end.Stop()
		if s.state = confirmed; s.flow.Transport.Stream() {
			s.gone()
		} else {
			s.end = s.layer.loop.After(timerI, s.gone)
		}
	case confirmed:
		s.layer.repeatedIn.Add(1)
	}
	return true
}
