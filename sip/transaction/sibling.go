package transaction

import (
	"bytes"
	"strconv"

	"github.com/siproam/siproam/sip"
)

// request is our own request, read again: ACK, CANCEL and an answer of our making repeat parts of it.
func (a *attempt) request() *sip.Message {
	m := &sip.Message{Flow: a.flow}
	if a.req == nil || sip.Parse(a.req, m) != nil {
		return nil
	}
	return m
}

// acknowledge sends the ACK to a refusal: To of the response, the rest of our INVITE (17.1.1.3).
func (a *attempt) acknowledge(res *sip.Message) (ack []byte) {
	req := a.request()
	if req == nil {
		return nil
	}
	if ack = a.sibling("ACK", req, res, ""); ack != nil {
		_ = a.layer.sender.Send(a.flow, ack) // the refusal comes again when it is lost
	}
	return ack
}

// cancelling is the CANCEL of our INVITE (9.1).
func (a *attempt) cancelling(reason string) (req *sip.Message, b []byte) {
	if req = a.request(); req == nil {
		return nil, nil
	}
	return req, a.sibling("CANCEL", req, req, reason)
}

// sibling writes a request of our INVITE's transaction: same Request-URI, Via, Route,
// From, Call-ID and CSeq number.
func (a *attempt) sibling(method string, req, to *sip.Message, reason string) []byte {
	w := &a.layer.own
	w.Request(method, string(req.RequestURI()))
	w.AddInt(sip.MaxForwards, 70)
	w.Copy(req, sip.Route)
	w.Copy(req, sip.From)
	w.Copy(to, sip.To)
	w.Copy(req, sip.CallID)
	w.Add(sip.CSeq, strconv.FormatUint(uint64(req.CSeq()), 10)+" "+method)
	if reason != "" {
		w.Add(sip.Reason, reason)
	}
	if w.End("", nil) != nil {
		return nil
	}
	return w.AppendWithVia(nil, req.Value(sip.Via))
}

// made is a response to our request that nobody sent.
func (a *attempt) made(code int) *sip.Message {
	req := a.request()
	if req == nil {
		return nil
	}
	w := &a.layer.own
	w.Response(req, code, "", NewTag())
	m := &sip.Message{Flow: a.flow}
	if w.End("", nil) != nil || sip.Parse(bytes.Clone(w.Bytes()), m) != nil {
		return nil
	}
	return m
}
