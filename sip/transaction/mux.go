package transaction

import (
	"bytes"
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// route is a method and, for NOTIFY and SUBSCRIBE, an event package.
type route struct {
	method sip.Method
	event  string
}

// Mux sends a request to its role by method, and by event package for NOTIFY and
// SUBSCRIBE. It checks what every UAS must (RFC 3261 8.2): the method (501, 405 with Allow),
// Max-Forwards (483), Require (420), the event package (489). Merged requests are the
// Layer's to refuse (482).
type Mux struct {
	supported []string
	routes    map[route]Handler
	allow     []string
	events    []string
}

// NewMux is an empty Mux. supported is the option tags Require may name.
func NewMux(supported ...string) *Mux {
	return &Mux{supported: supported, routes: map[route]Handler{}, allow: []string{"ACK", "BYE", "CANCEL", "INFO", "UPDATE"}}
}

// Handle sends method (and event package, "" for the rest) to h.
func (m *Mux) Handle(method sip.Method, event string, h Handler) {
	event = strings.ToLower(event)
	m.routes[route{method, event}] = h
	if !slices.Contains(m.allow, method.String()) {
		m.allow = append(m.allow, method.String())
	}
	if event != "" && !slices.Contains(m.events, event) {
		m.events = append(m.events, event)
	}
}

// Allow is the value of Allow: what is handled here and inside dialogs.
func (m *Mux) Allow() string { return strings.Join(m.allow, ", ") }

// ServeSIP is Handler's. An ACK that has come here belongs to nothing.
func (m *Mux) ServeSIP(tx *Server, req *sip.Message) error {
	if req.Method() == sip.ACK {
		return nil
	}
	h, err := m.find(req) // 8.2.1
	if err != nil {
		return err
	}
	if err := hopsLeft(req); err != nil {
		return err
	}
	if err := m.Required(req); err != nil { // 8.2.2.3
		return err
	}
	if req.Method() == sip.INVITE && req.Value(sip.Contact) == nil && req.Branch() != "" { // 8.1.1.8; RFC 2543 wanted none
		return &sip.Refused{Why: roam.BadRequest, Code: 400, Reason: "Bad Request - no Contact"}
	}
	return h.ServeSIP(tx, req)
}

// find is the role of req.
func (m *Mux) find(req *sip.Message) (Handler, error) {
	method, event := req.Method(), ""
	if method == sip.Other {
		return nil, &sip.Refused{Why: roam.NoAbility, Code: 501, Fields: []sip.Field{{Name: sip.Allow, Value: m.Allow()}}}
	}
	byEvent := method == sip.NOTIFY || method == sip.SUBSCRIBE
	if byEvent {
		event, _, _ = strings.Cut(strings.ToLower(string(req.Value(sip.Event))), ";")
		event = strings.TrimSpace(event)
	}
	if h := m.routes[route{method, event}]; h != nil {
		return h, nil
	}
	if h := m.routes[route{method, ""}]; h != nil {
		return h, nil
	}
	if !byEvent || !slices.Contains(m.allow, method.String()) {
		return nil, &sip.Refused{Why: roam.NoAbility, Code: 405, Fields: []sip.Field{{Name: sip.Allow, Value: m.Allow()}}}
	}
	if event == "" {
		return nil, &sip.Refused{Why: roam.BadRequest, Code: 400, Reason: "Bad Request - no Event"}
	}
	events := strings.Join(m.events, ", ")
	return nil, &sip.Refused{Why: roam.NoAbility, Code: 489, Fields: []sip.Field{{Name: sip.AllowEvents, Value: events}}}
}

// hopsLeft refuses what has been forwarded too often. REGISTER and OPTIONS may be for us, who
// forward neither; not so OPTIONS that asks a user (11, 16.3).
func hopsLeft(req *sip.Message) error {
	hops, found := req.Seconds(sip.MaxForwards)
	if found && hops == 0 && req.Method() != sip.REGISTER && (req.Method() != sip.OPTIONS || bytes.Contains(req.RequestURI(), []byte("@"))) {
		return &sip.Refused{Why: roam.LoopDetected, Code: 483}
	}
	return nil
}

// Required refuses what needs an extension we do not have, naming each (8.2.2.3). It is not asked about ACK and
// CANCEL, which are never refused for one.
func (m *Mux) Required(req *sip.Message) error {
	var unknown []string
	for _, n := range [...]sip.Name{sip.Require, sip.ProxyRequire} {
		for tag := range req.Values(n) {
			if !slices.ContainsFunc(m.supported, func(s string) bool { return strings.EqualFold(s, string(tag)) }) {
				unknown = append(unknown, string(tag))
			}
		}
	}
	if unknown == nil {
		return nil
	}
	return &sip.Refused{Why: roam.NoAbility, Code: 420, Fields: []sip.Field{{Name: sip.Unsupported, Value: strings.Join(unknown, ", ")}}}
}
