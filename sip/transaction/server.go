package transaction

import (
	"strconv"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/sip"
)

// Server is a server transaction. A REGISTER or OPTIONS answered in the turn it came in leaves
// nothing behind (8.2.7); Hold keeps it.
type Server struct {
	layer    *Layer
	req      *sip.Message
	flow     *sip.Flow
	tag      string
	key      string // in layer.servers; "": not there
	mergeKey string
	kept     bool // held: the request owns its bytes
	answered bool // a final answer was given
	code     int  // of the last answer
	last     []byte
	onCancel func(*sip.Message)
	repeat   *loop.Timer // G
	end      *loop.Timer // H, I, J, L, or the limit of a held request
}

// Hold keeps the transaction for a later turn: retransmissions are absorbed, and the
// request is kept (Request). A held INVITE is answered 100 at once; another request that is
// unanswered after 10 s gets 500. It returns s.
func (s *Server) Hold() *Server {
	if s.kept {
		return s
	}
	s.kept = true
	s.req = s.req.Keep()
	if s.key == "" {
		s.key = string(s.layer.serverKey(s.req, s.req.MethodText()))
		s.layer.servers[s.key] = s
	}
	if s.req.Method() == sip.INVITE {
		s.layer.w.Response(s.req, 100, "", "")
		s.layer.w.End("", nil)
		s.Respond(&s.layer.w)
	} else {
		s.end = s.layer.loop.After(held, func() { s.Refuse(errors500) })
	}
	return s
}

// Request is the request; after Hold it owns its bytes.
func (s *Server) Request() *sip.Message { return s.req }

// Flow is the flow the request came by.
func (s *Server) Flow() *sip.Flow { return s.flow }

// ToTag is the tag every answer of this transaction carries, unless the request had one.
func (s *Server) ToTag() string { return s.tag }

// Answered says that a final answer was given.
func (s *Server) Answered() bool { return s.answered }

// Start begins a response: Via, From, To with ToTag, Call-ID, CSeq are written. The Writer is
// the layer's: finish it and call Respond before anything else is begun.
func (s *Server) Start(code int, reason string) *sip.Writer {
	s.layer.w.Response(s.req, code, reason, s.tag)
	return &s.layer.w
}

// Reply is Start, fields, no body, Respond.
func (s *Server) Reply(code int, fields ...sip.Field) error {
	w := s.Start(code, "")
	w.AddFields(fields)
	if err := w.End("", nil); err != nil {
		return err
	}
	return s.Respond(w)
}

// Refuse answers err as sip.Status has it.
func (s *Server) Refuse(err error) {
	code, reason, fields := sip.Status(err)
	w := s.Start(code, reason)
	w.AddFields(fields)
	if w.End("", nil) == nil {
		s.Respond(w)
	}
	if code == 500 {
		s.layer.log.Error().Str("event", "request.failed").Str("method", s.req.MethodText()).Str("call_id", s.req.CallID()).Err(err).Msg("request failed")
	}
}

// Respond sends the finished w. A final answer is immutable: after one, Respond
// returns ErrAnswered and sends nothing. A 2xx to an INVITE is repeated by its dialog.
func (s *Server) Respond(w *sip.Writer) error {
	if s.answered {
		return ErrAnswered
	}
	b := w.Bytes()
	code, _ := strconv.Atoi(string(b[8:11]))
	s.code, s.answered = code, code >= 200
	if s.key != "" {
		s.last = append(s.last[:0], b...)
	}
	err := s.layer.sender.Send(s.flow, b) // a gone connection: never dial for a response (18.2.2, RFC 5626)
	if s.answered {
		s.finish()
	}
	return err
}

// finish sets the timers of an answered transaction (17.2, RFC 6026 7.1).
func (s *Server) finish() {
	s.end.Stop()
	s.onCancel = nil
	udp := !s.flow.Transport.Stream()
	switch {
	case s.key == "":
	case s.req.Method() == sip.INVITE && s.code < 300: // Accepted, L
		s.end = s.layer.loop.After(timerB, s.gone)
	case s.req.Method() == sip.INVITE: // Completed, G and H
		s.end = s.layer.loop.After(timerB, s.gone)
		if udp {
			s.timerG(T1)
		}
	case s.req.Method() == sip.REGISTER || s.req.Method() == sip.OPTIONS || !udp:
		s.gone()
	default: // J
		s.end = s.layer.loop.After(timerB, s.gone)
	}
	if s.key != "" && !s.kept { // the request's bytes end with this turn
		s.kept, s.req = true, s.req.Keep()
	}
}

// timerG repeats a refusal until its ACK, doubling to T2 (17.2.1).
func (s *Server) timerG(after time.Duration) {
	s.repeat = s.layer.loop.After(after, func() {
		s.again()
		s.timerG(min(2*after, T2))
	})
}

// again sends the last answer once more.
func (s *Server) again() {
	if len(s.last) > 0 && !(s.req.Method() == sip.INVITE && s.answered && s.code < 300) {
		s.layer.repeatedOut.Add(1)
		s.layer.sender.Send(s.flow, s.last)
	}
}

// Repeat sends a 2xx to an INVITE again, as it was.
func (s *Server) Repeat() {
	s.layer.repeatedOut.Add(1)
	s.layer.sender.Send(s.flow, s.last)
}

// ack takes an ACK; absorbed is false for one that belongs to a 2xx's dialog.
func (s *Server) ack() (absorbed bool) {
	if s.code < 300 {
		return false
	}
	s.repeat.Stop()
	s.end.Stop()
	if s.flow.Transport.Stream() {
		s.gone()
	} else {
		s.end = s.layer.loop.After(T4, s.gone) // Confirmed, I
	}
	return true
}

// OnCancel has fn called when a CANCEL matches, after it was answered 200. The handler
// then answers the INVITE 487 itself.
func (s *Server) OnCancel(fn func(cancel *sip.Message)) { s.onCancel = fn }

// gone ends the transaction.
func (s *Server) gone() {
	s.repeat.Stop()
	s.end.Stop()
	delete(s.layer.servers, s.key)
	if s.mergeKey != "" {
		delete(s.layer.merged, s.mergeKey)
	}
}
