package phone

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Call is one call of a phone: a dialog (RFC 3261 12) and its RTP.
type Call struct {
	p       *Phone
	l       *line
	id      string // Call-ID
	tag     string // ours
	session uint64 // of our SDP
	audio   *audio
	invite  *served       // the INVITE that came in; nil for a call we made
	abandon func()        // ends a call we made that is not answered
	done    chan struct{} // closed by end

	mu      sync.Mutex // guards the fields below
	state   state
	ended   bool           // end has been here
	local   sip.FromHeader // as it stands in our requests
	remote  sip.ToHeader
	target  sip.Uri  // Contact of the far end
	routes  []string // Route, in order
	seq     uint32   // CSeq of our last request
	version uint64   // of our SDP
	held    bool     // by us
	asking  bool     // a re-INVITE of ours is under way
	ack     *sip.Request
	acked   chan struct{} // closed by the ACK of our last 2xx
	ackSeq  uint32
}

// state is how far a call has come.
type state uint8

const (
	ringing state = iota
	talking
	over
)

// newCall opens what a call needs; invite is the request that came in, if one did.
func (l *line) newCall(invite *served) (*Call, error) {
	a, err := openAudio(l.p.cfg.Socket, l.host)
	if err != nil {
		return nil, err
	}
	c := &Call{
		p: l.p, l: l, tag: sip.GenerateTagN(10), session: uint64(rand.Uint32()), audio: a, invite: invite, done: make(chan struct{}),
	}
	if invite == nil {
		c.id = sip.GenerateTagN(20)
		return c, nil
	}
	c.id = invite.req.CallID().Value()
	c.local = invite.req.To().AsFrom()
	c.local.Params.Add("tag", c.tag)
	c.remote = invite.req.From().AsTo()
	c.target = contactOf(invite.req)
	for _, h := range invite.req.GetHeaders("record-route") { // RFC 3261 12.1.1
		c.routes = append(c.routes, h.Value())
	}
	return c, nil
}

// contactOf is the remote target a message names; without Contact it is the From, as best we can.
func contactOf(msg interface {
	Contact() *sip.ContactHeader
	From() *sip.FromHeader
}) sip.Uri {
	if h := msg.Contact(); h != nil {
		return *h.Address.Clone()
	}
	return *msg.From().Address.Clone()
}

// From is the caller of a call that came in: "sip:1001@north.example".
func (c *Call) From() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote.Address.String()
}

// Done is closed when the call has ended.
func (c *Call) Done() <-chan struct{} { return c.done }

// Heard says for how long in all the other end's tone of hz has dominated what was heard.
func (c *Call) Heard(hz float64) time.Duration { return c.audio.heard(hz) }

// enter goes from one state to another; ok is false when the call was not in the first.
func (c *Call) enter(from, to state) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != from {
		return false
	}
	c.state = to
	return true
}

// end is the end of the call, from any state, once.
func (c *Call) end(why string) {
	c.mu.Lock()
	ended := c.ended
	c.state, c.ended = over, true
	c.mu.Unlock()
	if ended {
		return
	}
	c.audio.close()
	c.p.remove(c)
	close(c.done)
	c.p.cfg.Log.Info().Str("event", "phone.call_end").Str("call_id", c.id).Str("reason", why).Msg("phone call ended")
}

// way is where requests of the dialog go: the proxy, or where the call came from.
func (c *Call) way() (hop, error) {
	if c.invite != nil {
		return c.invite.from, nil
	}
	return c.l.toProxy()
}

// request is the next request of the dialog, without a body (RFC 3261 12.2.1.1).
func (c *Call) request(method sip.RequestMethod) *sip.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if method != sip.ACK {
		c.seq++
	}
	req := c.l.newRequest(method, c.target)
	for _, r := range c.routes {
		req.AppendHeader(sip.NewHeader("Route", r))
	}
	req.AppendHeader(sip.HeaderClone(&c.local))
	req.AppendHeader(sip.HeaderClone(&c.remote))
	id := sip.CallIDHeader(c.id)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: c.seq, MethodName: method})
	if method == sip.INVITE {
		req.AppendHeader(sip.NewHeader("Contact", c.l.contact()))
		req.AppendHeader(sip.NewHeader("Allow", allow))
	}
	req.SetBody(nil)
	return req
}

// offer is an INVITE with our SDP.
func (c *Call) offer(held bool) *sip.Request {
	dir := sendrecv
	if held {
		dir = sendonly
	}
	req := c.request(sip.INVITE)
	req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	req.SetBody(c.body([]uint8{0, 8}, dir))
	return req
}

// body is our SDP, newer than the last.
func (c *Call) body(codec []uint8, dir string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	return media{to: c.here(), codec: codec, dir: dir}.body(c.session, c.version)
}

func (c *Call) here() netip.AddrPort { return c.audio.here() }

// ask sends what build gives, and again with credentials when challenged; req is what was answered.
func (c *Call) ask(ctx context.Context, build func() *sip.Request) (req *sip.Request, res *sip.Response, err error) {
	creds := credentials{login: c.p.cfg.Login, password: c.p.cfg.Password}
	for tries := 0; ; tries++ {
		req = build()
		if err = creds.apply(req); err != nil {
			return req, nil, err
		}
		to, err := c.way()
		if err != nil {
			return req, nil, err
		}
		if res, err = c.l.ask(ctx, req, to, nil); err != nil || tries == 3 || !creds.retry(res, tries) {
			return req, res, err
		}
	}
}

// confirm takes the 2xx to an INVITE of ours: the dialog as it is now, the ACK, the far end's SDP.
func (c *Call) confirm(req *sip.Request, res *sip.Response, held bool) error {
	c.mu.Lock()
	c.remote = *sip.HeaderClone(res.To()).(*sip.ToHeader)
	if h := res.Contact(); h != nil {
		c.target = *h.Address.Clone()
	}
	if c.ack == nil { // the first answer makes the route set, later ones leave it (12.2)
		for _, h := range res.GetHeaders("record-route") {
			c.routes = append(c.routes, h.Value())
		}
		slices.Reverse(c.routes)
	}
	c.mu.Unlock()
	ack := c.request(sip.ACK)
	ack.CSeq().SeqNo = req.CSeq().SeqNo
	c.mu.Lock()
	c.ack = ack
	c.mu.Unlock()
	to, err := c.way()
	if err != nil {
		return err
	}
	if err := c.l.send(ack, to); err != nil {
		return err
	}
	m, err := parseMedia(res.Body())
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.held = held
	c.mu.Unlock()
	c.audio.set(m, held)
	return nil
}

// ackAgain answers a 2xx that came again, its ACK lost.
func (c *Call) ackAgain(seq uint32, to hop) {
	c.mu.Lock()
	ack := c.ack
	c.mu.Unlock()
	if ack != nil && ack.CSeq().SeqNo == seq {
		_ = c.l.send(ack, to)
	}
}

// Call dials; it returns when the call is answered or refused (a *[Refused] with the status). What is
// dialled is a URI, or a user or number of the phone's own domain. When ctx ends the call is cancelled.
func (p *Phone) Call(ctx context.Context, uri string) (*Call, error) {
	return p.dial(ctx, uri, p.cfg.Tone, false)
}

func (p *Phone) dial(ctx context.Context, dialled string, hz float64, echo bool) (*Call, error) {
	target, err := p.target(dialled)
	if err != nil {
		return nil, err
	}
	l, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	c, err := l.newCall(nil)
	if err != nil {
		return nil, err
	}
	c.target = target
	c.local = sip.FromHeader{Address: *p.aor.Clone(), Params: sip.HeaderParams{{K: "tag", V: c.tag}}}
	c.remote = sip.ToHeader{Address: *target.Clone()}
	ctx, c.abandon = context.WithCancel(ctx)
	defer c.abandon()
	if !p.add(c) {
		c.audio.close()
		return nil, &Refused{sip.StatusBusyHere, "too many calls"}
	}
	if err := c.establish(ctx, hz, echo); err != nil {
		c.end(err.Error())
		return nil, err
	}
	p.cfg.Log.Info().Str("event", "phone.call").Str("call_id", c.id).Msg("phone call answered")
	return c, nil
}

// establish sends the INVITE and makes the call of its answer.
func (c *Call) establish(ctx context.Context, hz float64, echo bool) error {
	req, res, err := c.ask(ctx, func() *sip.Request { return c.offer(false) })
	if res == nil {
		return err
	}
	if no := refused(res); no != nil {
		return errors.Join(err, no)
	}
	problem := c.confirm(req, res, false)
	if problem == nil && err == nil && c.enter(ringing, talking) {
		c.audio.start(c.l, hz, echo)
		return nil
	}
	c.bye(context.WithoutCancel(ctx)) // answered all the same, or with nothing to talk by
	return errors.Join(err, problem)
}

// bye ends the dialog at the far end; whatever it answers, the call is over.
func (c *Call) bye(ctx context.Context) (err error) {
	ctx, stop := context.WithTimeout(ctx, timerB)
	defer stop()
	_, res, err := c.ask(ctx, func() *sip.Request { return c.request(sip.BYE) })
	if err != nil {
		return err
	}
	return refused(res)
}

// Hangup sends BYE and waits for its answer. A call that rings is refused, one not answered yet
// is cancelled, one that is over is left alone.
func (c *Call) Hangup(ctx context.Context) error {
	switch {
	case c.invite != nil && c.enter(ringing, over):
		c.reply(c.invite, sip.StatusBusyHere, "Busy Here", nil)
		c.end("refused")
	case c.enter(talking, over):
		err := c.bye(ctx)
		c.end("hung up here")
		return err
	case c.invite == nil:
		c.abandon()
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Hold sends a re-INVITE with sendonly; Resume takes it back. A refusal is a *[Refused].
func (c *Call) Hold(ctx context.Context) error { return c.reinvite(ctx, true) }

// Resume takes a hold back.
func (c *Call) Resume(ctx context.Context) error { return c.reinvite(ctx, false) }

func (c *Call) reinvite(ctx context.Context, held bool) error {
	c.mu.Lock()
	busy, now := c.asking, c.state
	c.asking = true
	c.mu.Unlock()
	if now != talking {
		return &Refused{sip.StatusCallTransactionDoesNotExists, "no call"}
	}
	if busy {
		return &Refused{sip.StatusRequestPending, "Request Pending"}
	}
	defer func() {
		c.mu.Lock()
		c.asking = false
		c.mu.Unlock()
	}()
	req, res, err := c.ask(ctx, func() *sip.Request { return c.offer(held) })
	if res == nil {
		return err
	}
	if no := refused(res); no != nil {
		return no
	}
	return c.confirm(req, res, held)
}
