package edge

import (
	"errors"
	"strconv"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// mostForwarded is how many requests may be with the registrar at once; then 503.
const mostForwarded = 2000

// knownFor is how long an answer waits until the softswitch knows the flow it is about: the line comes by another
// connection than the answer.
const knownFor = time.Second

// staysFor is what a phone is granted whose binding we know while the registrar does not answer.
const staysFor = 60 * time.Second

// errWrongProcess says that a flow leads to another process than it should: nothing is sent there.
var errWrongProcess = errors.New("the other end is not that process of this office")

// What of a phone's REGISTER goes to the registrar, and of the answer to the phone. Nothing else does.
var (
	there = [...]sip.Name{sip.From, sip.To, sip.CallID, sip.CSeq, sip.Contact, sip.Expires, sip.Authorization, sip.Supported, sip.Require, sip.Allow, sip.UserAgent}
	back  = [...]sip.Name{sip.Contact, sip.Expires, sip.MinExpires, sip.WWWAuthenticate, sip.RetryAfter, sip.Require, sip.Supported, sip.Unsupported, sip.Warning}
)

// flowTimer is RFC 5626 4.4's header field.
const flowTimer = "Flow-Timer"

// register hands a phone's REGISTER on, and its answer back.
func (n *Near) register(tx *transaction.Server, req *sip.Message) error {
	left := int64(69)
	if hops, found := req.Seconds(sip.MaxForwards); found {
		left = int64(hops) - 1
	}
	switch {
	case left < 0:
		return &sip.Refused{Why: roam.LoopDetected, Code: 483}
	case n.under >= mostForwarded:
		tx.Busy("registrar")
		return nil
	}
	tx.Hold()
	req = tx.Request()
	n.forgetFlow(req.Flow.Flow)
	path := n.path(req)
	n.under++
	n.ask(func(w *sip.Writer) error {
		w.Request("REGISTER", string(req.RequestURI()))
		w.AddInt(sip.MaxForwards, left)
		for _, name := range there {
			w.Copy(req, name)
		}
		w.Add(sip.Path, path)
		w.AddOther(flowField, writeFlow(n.cfg.Self.ID, req.Flow))
		return w.End("", nil)
	}, func(res *sip.Message, err error) {
		n.under--
		if err != nil {
			n.unanswered(tx, err)
			return
		}
		n.alive()
		n.forwarded.Add(1, strconv.Itoa(res.Status()/100)+"xx")
		if res.Status()/100 == 2 && adds(req) && len(n.flows[req.Flow.Flow]) == 0 {
			kept := res.Keep()
			n.whenKnown(req.Flow.Flow, func() { n.relay(tx, kept) })
			return
		}
		n.relay(tx, res)
	})
	return nil
}

// path names the flow of req: "ob" says that it is the phone's own (RFC 5626 5.1), not one of a proxy that stands between.
func (n *Near) path(req *sip.Message) string {
	u, _ := sip.ParseURI([]byte(n.cfg.Self.URI))
	u.User = tokenOf(n.marks, req.Flow.Flow)
	v := "<" + u.String() + ";lr"
	vias := 0
	for range req.Values(sip.Via) {
		vias++
	}
	if vias == 1 {
		v += ";ob"
	}
	return v + ">"
}

// adds says that a REGISTER may bind something.
func adds(req *sip.Message) bool {
	expires, given := req.Seconds(sip.Expires)
	contact := req.Value(sip.Contact)
	return contact != nil && string(contact) != "*" && (!given || expires > 0)
}

// whenKnown calls fn when f carries a binding, or after knownFor.
func (n *Near) whenKnown(f roam.Flow, fn func()) {
	done := false
	once := func() {
		if !done {
			done = true
			fn()
		}
	}
	n.waits[f] = append(n.waits[f], once)
	n.loop.After(knownFor, func() {
		delete(n.waits, f)
		once()
	})
}

// relay gives the phone the registrar's answer.
func (n *Near) relay(tx *transaction.Server, res *sip.Message) {
	if tx.Answered() { // it waited too long
		return
	}
	w := tx.Start(res.Status(), res.Reason())
	for _, name := range back {
		w.Copy(res, name)
	}
	if v := res.Other(flowTimer); v != nil {
		w.AddOther(flowTimer, string(v))
	}
	if w.End("", nil) == nil {
		_ = tx.Respond(w) // the phone repeats what it has no answer to
	}
}

// unanswered is a REGISTER that the registrar did not answer. A binding that we know lives on (I8): it is confirmed for a
// while when the very flow that carries it asks for what it has; all else must wait.
func (n *Near) unanswered(tx *transaction.Server, err error) {
	n.forwarded.Add(1, "unanswered")
	n.silence(nil, err)
	req := tx.Request()
	t := n.bound(req)
	if tx.Answered() {
		return
	}
	if t == nil {
		tx.Refuse(&sip.Refused{Why: roam.TooBusy, Reason: "Registrar Does Not Answer"})
		return
	}
	w := tx.Start(200, "")
	value := "<" + t.URI + ">;expires=" + strconv.Itoa(int(staysFor/time.Second))
	if t.RegID != 0 {
		value += ";+sip.instance=" + sip.Quote("<"+string(t.Device)+">") + ";reg-id=" + strconv.FormatUint(uint64(t.RegID), 10)
	}
	w.Add(sip.Contact, value)
	if w.End("", nil) == nil {
		_ = tx.Respond(w)
	}
}

// bound is the target that req, a phone's REGISTER with one Contact, asks to keep; nil when it asks for anything else than
// what it has. Credentials are not looked at: nothing is bound that was not bound with good ones, by this flow.
func (n *Near) bound(req *sip.Message) *roam.Target {
	if !adds(req) {
		return nil
	}
	contacts := 0
	for range req.Values(sip.Contact) {
		contacts++
	}
	c, err := sip.ParseAddress(req.Value(sip.Contact))
	to, bad := req.To()
	if err != nil || bad != nil || contacts != 1 {
		return nil
	}
	if text, found := c.Params.Get("expires"); found && text == "0" {
		return nil
	}
	aor, err := to.URI.AOR()
	if err != nil {
		return nil
	}
	user, found := n.Resolve(aor)
	if !found || !n.flows[req.Flow.Flow][user] {
		return nil
	}
	ts := n.lines[user].line.Targets
	for i := range ts {
		if ts[i].Flow == req.Flow.Flow && same(ts[i].URI, c) {
			return &ts[i]
		}
	}
	return nil
}

// same says that a is the Contact uri (RFC 3261 19.1.4).
func same(uri string, a sip.Address) bool {
	u, err := sip.ParseURI([]byte(uri))
	return err == nil && u.Equal(a.URI)
}

// options is another office's question for our card, which is the registrar's to answer, or a phone's keep-alive.
func (n *Near) options(tx *transaction.Server, req *sip.Message) error {
	if req.Flow.Partner == "" {
		return tx.Reply(200, sip.Field{Name: sip.Allow, Value: allow}, sip.Field{Name: sip.Accept, Value: "application/sdp"})
	}
	u, err := sip.ParseURI(req.RequestURI())
	switch {
	case err != nil:
		return err
	case u.User == "" && n.card != nil:
		n.answerCard(tx, nil, nil)
		return nil
	case n.under >= mostForwarded:
		tx.Busy("registrar")
		return nil
	}
	tx.Hold()
	req = tx.Request()
	uri := n.cfg.Registrar.URI
	if u.User != "" {
		uri = string(req.RequestURI())
	}
	n.under++
	n.ask(func(w *sip.Writer) error {
		addressed(w, "OPTIONS", uri, n.cfg.Self.URI, uri)
		w.Copy(req, sip.Accept)
		return w.End("", nil)
	}, func(res *sip.Message, err error) {
		n.under--
		n.answerCard(tx, res, err)
	})
	return nil
}

const allow = "INVITE,ACK,BYE,CANCEL,OPTIONS,REGISTER,NOTIFY,INFO,UPDATE,MESSAGE"

// answerCard gives another office the registrar's answer, or the card it told us last.
func (n *Near) answerCard(tx *transaction.Server, res *sip.Message, err error) {
	var kind string
	var body []byte
	switch {
	case tx.Answered():
		return
	case res != nil && err == nil && res.Status()/100 == 2:
		kind, body = string(res.Value(sip.ContentType)), res.Body()
	case n.card != nil:
		kind, body = cardType, encode(n.card)
	default:
		tx.Refuse(roam.TooBusy)
		return
	}
	w := tx.Start(200, "")
	w.Add(sip.Allow, allow)
	if w.End(kind, body) == nil {
		_ = tx.Respond(w)
	}
}

// cardType is the office card's body.
const cardType = "application/vnd.siproam.office+json"

// addressed writes what all requests between processes have in common.
func addressed(w *sip.Writer, method, uri, from, to string) {
	w.Request(method, uri)
	w.AddInt(sip.MaxForwards, 70)
	w.Add(sip.From, "<"+from+">;tag="+transaction.NewTag())
	w.Add(sip.To, "<"+to+">")
	w.Add(sip.CallID, transaction.NewTag())
	w.Add(sip.CSeq, "1 "+method)
}
