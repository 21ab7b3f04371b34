package phone

import (
	"context"
	"time"

	"github.com/emiago/sipgo/sip"
)

// allow is what the phone can be asked.
const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY, MESSAGE"

// serve answers one request, not seen before. It runs on a reader and waits for nothing.
func (l *line) serve(s *served) {
	req := s.req
	if req.Method == sip.CANCEL {
		l.serveCancel(s)
		return
	}
	tag, inDialog := req.To().Params.Get("tag")
	if inDialog {
		c := l.p.find(tag)
		if c == nil || c.id != req.CallID().Value() {
			l.reply(s, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
			return
		}
		c.serve(s)
		return
	}
	switch req.Method {
	case sip.INVITE:
		l.serveInvite(s)
	case sip.OPTIONS, sip.NOTIFY, sip.MESSAGE, sip.INFO:
		l.reply(s, sip.StatusOK, "OK")
	default:
		l.reply(s, sip.StatusMethodNotAllowed, "Method Not Allowed")
	}
}

// reply answers outside dialogs.
func (l *line) reply(s *served, code int, reason string) {
	res := sip.NewResponseFromRequest(s.req, code, reason, nil)
	res.AppendHeader(sip.NewHeader("Allow", allow))
	res.AppendHeader(sip.NewHeader("User-Agent", l.p.cfg.Agent))
	l.respond(s, res)
}

// reply answers within the call's dialog, with SDP when there is some.
func (c *Call) reply(s *served, code int, reason string, sdp []byte) (res *sip.Response) {
	res = sip.NewResponseFromRequest(s.req, code, reason, nil)
	res.To().Params.Add("tag", c.tag)
	res.AppendHeader(sip.NewHeader("Contact", c.l.contact()))
	res.AppendHeader(sip.NewHeader("Allow", allow))
	res.AppendHeader(sip.NewHeader("User-Agent", c.p.cfg.Agent))
	if sdp != nil {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
		res.SetBody(sdp)
	}
	c.l.respond(s, res)
	return res
}

// serveInvite is a new call.
func (l *line) serveInvite(s *served) {
	if l.p.cfg.Answer == Busy {
		l.reply(s, sip.StatusBusyHere, "Busy Here")
		return
	}
	c, err := l.newCall(s)
	if err != nil {
		l.reply(s, sip.StatusInternalServerError, "Server Internal Error")
		return
	}
	if !l.p.add(c) {
		c.audio.close()
		l.reply(s, sip.StatusBusyHere, "Busy Here")
		return
	}
	l.mu.Lock()
	s.call = c
	l.mu.Unlock()
	c.reply(s, sip.StatusRinging, "Ringing", nil)
	l.p.cfg.Log.Info().Str("event", "phone.ringing").Str("call_id", c.id).Str("peer", c.From()).Msg("phone rings")
	l.spawn(c.behave)
}

// serveCancel ends a call that rings (RFC 3261 9.2).
func (l *line) serveCancel(s *served) {
	l.mu.Lock()
	invite := l.served[key(s.req, sip.INVITE)]
	var c *Call
	if invite != nil {
		c = invite.call
	}
	l.mu.Unlock()
	if c == nil {
		l.reply(s, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
		return
	}
	c.reply(s, sip.StatusOK, "OK", nil)
	if c.enter(ringing, over) {
		c.reply(invite, sip.StatusRequestTerminated, "Request Terminated", nil)
		c.end("cancelled")
	}
}

// serve answers a request within the dialog.
func (c *Call) serve(s *served) {
	switch s.req.Method {
	case sip.BYE:
		unanswered := c.invite != nil && c.enter(ringing, over)
		c.enter(talking, over) // before the answer, so that we send no BYE as well
		c.reply(s, sip.StatusOK, "OK", nil)
		if unanswered {
			c.reply(c.invite, sip.StatusRequestTerminated, "Request Terminated", nil)
		}
		c.end("hung up there")
	case sip.INVITE:
		c.serveReinvite(s)
	case sip.OPTIONS, sip.INFO, sip.NOTIFY, sip.MESSAGE:
		c.reply(s, sip.StatusOK, "OK", nil)
	default:
		c.l.reply(s, sip.StatusMethodNotAllowed, "Method Not Allowed")
	}
}

// serveReinvite takes a new offer, or gives one (RFC 3261 14.2).
func (c *Call) serveReinvite(s *served) {
	c.mu.Lock()
	asking, now := c.asking, c.state
	c.mu.Unlock()
	if asking || now != talking {
		c.reply(s, sip.StatusRequestPending, "Request Pending", nil)
		return
	}
	if err := c.accept(s); err != nil {
		c.reply(s, sip.StatusNotAcceptableHere, "Not Acceptable Here", nil)
	}
}

// accept answers an INVITE with 200, which is sent again until its ACK comes.
func (c *Call) accept(s *served) error {
	c.mu.Lock()
	held := c.held
	c.mu.Unlock()
	var sdp []byte
	if len(s.req.Body()) == 0 {
		dir := sendrecv
		if held {
			dir = sendonly
		}
		sdp = c.body([]uint8{0, 8}, dir) // the answer comes in the ACK
	} else {
		m, err := parseMedia(s.req.Body())
		if err != nil {
			return err
		}
		sdp = c.body(m.codec[:1], m.answer(held))
		c.audio.set(m, held)
	}
	acked := make(chan struct{})
	c.mu.Lock()
	c.acked, c.ackSeq = acked, s.req.CSeq().SeqNo
	if h := s.req.Contact(); h != nil {
		c.target = *h.Address.Clone()
	}
	c.mu.Unlock()
	res := c.reply(s, sip.StatusOK, "OK", sdp)
	c.l.repeat(res, s.from, acked)
	return nil
}

// receiveAck is the ACK of a 2xx of ours; it brings SDP when that carried the offer. Only readers call it.
func (c *Call) receiveAck(ack *sip.Request) {
	c.mu.Lock()
	acked, held := c.acked, c.held
	if acked == nil || ack.CSeq().SeqNo != c.ackSeq {
		c.mu.Unlock()
		return
	}
	c.acked = nil
	close(acked)
	c.mu.Unlock()
	if m, err := parseMedia(ack.Body()); err == nil {
		c.audio.set(m, held)
	}
}

// Answer takes a call that rings; a *[Refused] when it is over already, or cannot be had.
func (c *Call) Answer() error {
	if c.invite == nil || !c.enter(ringing, talking) {
		return &Refused{sip.StatusCallTransactionDoesNotExists, "no call"}
	}
	if err := c.accept(c.invite); err != nil {
		c.reply(c.invite, sip.StatusNotAcceptableHere, "Not Acceptable Here", nil)
		c.end(err.Error())
		return &Refused{sip.StatusNotAcceptableHere, err.Error()}
	}
	c.audio.start(c.l, c.p.cfg.Tone, c.p.cfg.Answer == Echo)
	c.p.cfg.Log.Info().Str("event", "phone.call").Str("call_id", c.id).Msg("phone call answered")
	return nil
}

// behave is what the phone does when it is called.
func (c *Call) behave() {
	switch c.p.cfg.Answer {
	case Ring:
		select {
		case c.p.incoming <- c:
		default:
			_ = c.Hangup(context.Background())
		}
	case CallBack:
		if c.Answer() == nil {
			c.callBack()
		}
	default:
		_ = c.Answer() // the caller was told
	}
}

// callBack hangs up, and calls the caller back wherever he is.
func (c *Call) callBack() {
	p, l := c.p, c.l
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	l.sleep(p.pace.talk, c.done)
	_ = c.Hangup(ctx)
	caller := c.caller()
	if caller == "" || !l.sleep(p.pace.wait, nil) {
		return
	}
	back, err := p.dial(ctx, caller, p.cfg.Tone, p.cfg.Tone == 0)
	if err != nil {
		p.cfg.Log.Info().Str("event", "phone.call_back").Err(err).Msg("call back not answered")
		return
	}
	l.sleep(p.pace.callBack, back.done)
	_ = back.Hangup(ctx)
}

// caller is what to dial to call back: a number is of our own office, a user of the domain it
// came with. "" when the caller does not want to be known.
func (c *Call) caller() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.remote.Address
	switch {
	case from.User == "" || from.User == "anonymous":
		return ""
	case from.User[0] == '+':
		return from.User
	}
	uri := sip.Uri{Scheme: "sip", User: from.User, Host: from.Host, Port: from.Port}
	return uri.String()
}

// sleep waits; it is over sooner when early is closed, and false when the line has ended.
func (l *line) sleep(d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-early:
	case <-l.done:
		return false
	}
	return true
}
