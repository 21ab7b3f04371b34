package registrar

import (
	"slices"
	"strconv"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// How often a phone is to show that its flow lives, in seconds (RFC 5626 4.4, Flow-Timer): before a NAT forgets it.
const (
	flowTimerUDP    = 25
	flowTimerStream = 120 // well below the idle limit of connections
)

// outbound is the option tag of RFC 5626.
const outbound = "outbound"

// speaksFlows says that the phone knows RFC 5626.
func speaksFlows(req *sip.Message) bool {
	return req.Has(sip.Supported, outbound) || req.Has(sip.Require, outbound)
}

// keepsFlow says that c is a flow of its phone that is to stay.
func keepsFlow(c control.Contact) bool { return c.RegID != 0 && c.Grant > 0 }

// named checks what r says of flows (RFC 5626 6): a reg-id counts only together with an instance, only one flow is
// registered at a time, and only one that leads here, or to a front that keeps it. A phone behind any other proxy is told
// that its first hop knows nothing of flows: no Path of a phone's is believed, so none says otherwise.
func named(req *sip.Message, r *control.Register) error {
	if !slices.ContainsFunc(r.Contacts, func(c control.Contact) bool { return c.RegID != 0 }) {
		return nil
	}
	switch {
	case r.Device != "" && direct(req):
		if i := slices.IndexFunc(r.Contacts, keepsFlow); i >= 0 && slices.ContainsFunc(r.Contacts[i+1:], keepsFlow) {
			return roam.BadRequest
		}
		return nil
	case r.Device != "" && speaksFlows(req):
		return &sip.Refused{Why: roam.NoAbility, Code: 439}
	}
	for i := range r.Contacts {
		r.Contacts[i].RegID = 0
	}
	return nil
}

// acceptFlow tells a phone by what way it is reached, that its flow is one, and how often it must be heard.
func acceptFlow(w *sip.Writer, req *sip.Message, r *control.Register) {
	echoPath(w, req)
	if !slices.ContainsFunc(r.Contacts, keepsFlow) || !speaksFlows(req) {
		return
	}
	every := flowTimerUDP
	if req.Flow.Transport.Stream() {
		every = flowTimerStream
	}
	w.Add(sip.Require, outbound)
	if req.Flow.Foreign != "" {
		return // how often is the front's to say: it is the phone's first hop
	}
	w.AddOther("Flow-Timer", strconv.Itoa(every))
}
