package transaction

import (
	"errors"
	"strconv"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// state is where a server transaction is (17.2, RFC 6026 8).
type state uint8

const (
	trying state = iota
	proceeding
	accepted  // a 2xx to INVITE, which its dialog repeats
	completed // another final answer
	confirmed // its ACK has come
	terminated
)

// Server is a server transaction. A REGISTER or OPTIONS answered in the turn it came in leaves
// nothing behind (8.2.7), nor does a request refused in its turn outside a dialog: its repetition is
// refused again, so a stranger gets one packet for one. Hold keeps it; without, tx is answered before
// ServeSIP returns, and ends with that.
type Server struct {
	layer  *Layer
	req    *sip.Message
	method sip.Method
	flow   *sip.Flow
	from   *sip.Flow // see From
	tag    string
	state  state
	held   bool
	listed bool // in layer.servers, and in merged when merge is not 0
	proved bool // see proven
	plain  bool // what is sent is what Reply writes without fields

	key, merge uint64 // serverHash and mergeHash; 0: not computed, or never to be merged
	last       []byte // the last answer beyond 100, for repetitions
	onCancel   func(*sip.Message)
	cancelled  *sip.Message  // a CANCEL that came before OnCancel
	repeat     loop.Timer    // G, or the late 100
	end        loop.Timer    // H, or the limit of a held request
	wait       time.Duration // G's latest
}

// Hold keeps the transaction for a later turn: retransmissions are absorbed, and the
// request is kept (Request). An INVITE is answered 100 at once, another request after 3.5 s
// (RFC 4320 4.1), and 500 when it is unanswered after 10 s. A stranger gets no 100: he may not be where he
// says, and goes on repeating what he sent. It returns s.
func (s *Server) Hold() *Server {
	if s.held || s.state >= accepted {
		return s
	}
	s.held = true
	s.req = s.req.Keep()
	s.list()
	s.proved = s.proven()
	if s.method == sip.INVITE {
		if s.proved {
			s.trying()
		}
		return s
	}
	s.layer.loop.Set(&s.repeat, lateTrying, s)
	s.layer.loop.Set(&s.end, heldFor, s)
	return s
}

// proven says that whoever sent the request is at the address it came from: by a connection, by a registration on
// that flow, or by Prove.
func (s *Server) proven() bool {
	return s.proved || s.flow.Transport.Stream() || s.layer.queue.regular(s.flow)
}

// Prove says that the request has answered a challenge of ours. An INVITE that waits gets its 100 now.
func (s *Server) Prove() {
	if s.proven() {
		return
	}
	if s.proved = true; s.held && s.method == sip.INVITE && s.state == trying {
		s.trying()
	}
}

// fitting is b as it may go out. What a stranger gets is at most half as long again as what he sent, and he gets no
// more than one answer for each request: else he need only say to be at somebody's address to have us shout at him. What
// does not fit is shortened; nil: that does not do, he gets nothing.
func (s *Server) fitting(code int, b []byte) []byte {
	checked := code < 300 && s.method != sip.OPTIONS // by digest, or it would be no success
	if checked || !sip.Amplifies(s.req, b) || s.proven() {
		return b
	}
	s.plain = false
	s.layer.out = sip.Shorten(s.layer.out[:0], b)
	if sip.Amplifies(s.req, s.layer.out) {
		s.layer.overload.Add(1, "amplification")
		return nil
	}
	return s.layer.out
}

// trying answers 100, which has no tag of ours (8.2.6.2). It is written anew for each repetition.
func (s *Server) trying() {
	w := &s.layer.own
	w.Response(s.req, 100, "", "")
	if w.End("", nil) == nil {
		s.state = proceeding
		_ = s.layer.sender.Send(s.flow, w.Bytes()) // a lost connection ends by its timers
	}
}

// server is a transaction for m. One that ended with its message is used again: it is the one thing that a
// REGISTER, an ACK and most others would allocate.
func (l *Layer) server(m *sip.Message) *Server {
	s := l.spare
	if l.spare = nil; s == nil {
		s = new(Server)
	}
	*s = Server{layer: l, req: m, method: m.Method(), flow: m.Flow}
	return s
}

// done takes s back when its message is handled, unless somebody may have kept it: who holds it, and the dialog
// that repeats a 2xx to INVITE.
func (l *Layer) done(s *Server) {
	if !s.held && s.method != sip.INVITE {
		l.spare = s
	}
}

// brief says that an answer in the turn leaves nothing behind (8.2.7).
func (s *Server) brief() bool { return s.method == sip.REGISTER || s.method == sip.OPTIONS }

// Request is the request; after Hold it owns its bytes.
func (s *Server) Request() *sip.Message { return s.req }

// Flow is the flow the request came by.
func (s *Server) Flow() *sip.Flow {
	if s.from != nil {
		return s.from
	}
	return s.flow
}

// From says that the request began its way on f, a phone's flow at a softswitch of ours that handed it on:
// Flow and the request's own Flow are f from now on. Answers go back the way it came.
func (s *Server) From(f *sip.Flow) { s.from, s.req.Flow = f, f }

// ToTag is the tag every answer of this transaction carries, unless the request had one.
// It is random; the one of what is answered without state, as strangers are, is the same for every
// repetition of the request (8.2.7).
func (s *Server) ToTag() string {
	switch {
	case s.tag != "":
	case s.brief() || !s.proven():
		s.tag = string(s.appendTag(nil))
	default:
		s.tag = NewTag()
	}
	return s.tag
}

// appendTag appends the tag of what is answered without state.
func (s *Server) appendTag(b []byte) []byte {
	if s.key == 0 {
		s.key = s.layer.serverHash(s.req, s.method)
	}
	return strconv.AppendUint(b, s.key, 36)
}

// start begins a response in w. It makes no string of a tag that nobody will ask for.
func (s *Server) start(w *sip.Writer, code int, reason string) {
	if s.from != nil { // received and rport are of the last hop
		s.req.Flow = s.flow
		defer func() { s.req.Flow = s.from }()
	}
	if _, tag := s.req.Tags(); len(tag) > 0 { // it has ours already
		w.Response(s.req, code, reason, "")
		return
	}
	if s.tag == "" && s.brief() {
		var room [16]byte
		w.Response(s.req, code, reason, string(s.appendTag(room[:0])))
		return
	}
	w.Response(s.req, code, reason, s.ToTag())
}

// Answered says that a final answer was given.
func (s *Server) Answered() bool { return s.state >= accepted }

// Start begins a response: Via, From, To with ToTag, Call-ID, CSeq are written. The Writer is
// the layer's: finish it and call Respond before anything else is begun.
func (s *Server) Start(code int, reason string) *sip.Writer {
	s.start(&s.layer.answer, code, reason)
	return &s.layer.answer
}

// Respond sends the finished w. A final answer is immutable: after one, Respond
// returns ErrAnswered and sends nothing. It goes by the request's flow; when that is a
// connection that is gone the error says so, and the answer is lost: we never dial for one.
// A 2xx to an INVITE is repeated by its dialog.
func (s *Server) Respond(w *sip.Writer) error {
	if s.Answered() {
		return ErrAnswered
	}
	b := w.Bytes()
	if len(b) < len("SIP/2.0 200") {
		return errors.New("answer was not finished")
	}
	code, err := strconv.Atoi(string(b[8:11]))
	if err != nil {
		return err
	}
	return s.send(code, b)
}

// Reply is Start, fields, no body, Respond.
func (s *Server) Reply(code int, fields ...sip.Field) error {
	w := s.Start(code, "")
	w.AddFields(fields)
	if err := w.End("", nil); err != nil {
		return err
	}
	s.plain = len(fields) == 0
	err := s.Respond(w)
	s.plain = false
	return err
}

// Refuse answers err as sip.Status has it, roam.TooBusy as Busy does. A second final answer is not sent.
func (s *Server) Refuse(err error) {
	if s.Answered() {
		return
	}
	if why, plain := err.(roam.Refusal); plain && why == roam.TooBusy {
		s.Busy("busy")
		return
	}
	code, reason, fields := sip.Status(err)
	if code == 408 && s.method != sip.INVITE {
		code, reason = 504, "" // see untimely
	}
	if code == 500 {
		s.layer.log.Error().Str("event", "request.failed").Str("method", s.req.MethodText()).
			Str("call_id", s.req.CallID()).Err(err).Msg("request failed")
	}
	w := &s.layer.own
	s.start(w, code, reason)
	w.AddFields(fields)
	if w.End("", nil) != nil { // a value of err's cannot be written
		s.start(w, 500, "")
		if w.End("", nil) != nil {
			return
		}
	}
	_ = s.Respond(w) // a lost connection is no news here
}

// Busy refuses the request because there is too much to do already, and counts why: 503, with a Retry-After that is
// spread, and nothing for a REGISTER over UDP: Timer E repeats it, and phones ignore Retry-After on it.
func (s *Server) Busy(reason string) {
	s.layer.overload.Add(1, reason)
	if s.method == sip.REGISTER && !s.flow.Transport.Stream() {
		s.gone()
		return
	}
	s.Refuse(&sip.Refused{Why: roam.TooBusy, Fields: []sip.Field{{Name: sip.RetryAfter, Value: sip.Spread(busyFor)}}})
}

// OnCancel has fn called when a CANCEL matches, after that was answered 200; at the end of this
// turn when one has come already. The handler then answers the INVITE 487 itself.
func (s *Server) OnCancel(fn func(cancel *sip.Message)) {
	s.onCancel = fn
	if early := s.cancelled; early != nil {
		s.cancelled = nil
		s.layer.loop.Later(func() { s.cancel(early) })
	}
}

// cancel tells the handler of a CANCEL, once.
func (s *Server) cancel(m *sip.Message) {
	fn := s.onCancel
	switch {
	case s.Answered():
	case fn != nil:
		s.onCancel = nil
		fn(m)
	case s.cancelled == nil:
		s.cancelled = m.Keep()
	}
}
