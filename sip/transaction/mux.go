package transaction

import (
	"strconv"
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
// SUBSCRIBE. It checks what every UAS must: Max-Forwards, Require (420), the method
// (405 with Allow, 501) and the event package (489).
type Mux struct {
	supported []string
	routes    map[route]Handler
	allow     string
	events    string
}

// NewMux is an empty Mux. supported is the option tags Require may name.
func NewMux(supported ...string) *Mux { return &Mux{supported: supported, routes: map[route]Handler{}} }

// Handle sends method (and event package, "" for the rest) to h.
func (m *Mux) Handle(method sip.Method, event string, h Handler) {
	m.routes[route{method, event}] = h
	if !strings.Contains(","+m.allow+",", ","+method.String()+",") {
		m.allow = join(m.allow, method.String())
	}
	if event != "" {
		m.events = join(m.events, event)
	}
}

func join(list, one string) string {
	if list == "" {
		return one
	}
	return list + "," + one
}

// Allow is the value of Allow: what is handled here and inside dialogs.
func (m *Mux) Allow() string { return m.allow + ",ACK,BYE,CANCEL,UPDATE,INFO" }

// ServeSIP is Handler's (RFC 3261 8.2).
func (m *Mux) ServeSIP(tx *Server, req *sip.Message) error {
	h, err := m.find(req)
	if err != nil {
		return err
	}
	if hops, found := req.Seconds(sip.MaxForwards); found && hops == 0 && req.Method() != sip.OPTIONS && req.Method() != sip.REGISTER {
		return &sip.Refused{Why: roam.LoopDetected, Code: 483}
	}
	if err := m.required(req); err != nil {
		return err
	}
	return h.ServeSIP(tx, req)
}

// find is 8.2.1: the method, then the event package.
func (m *Mux) find(req *sip.Message) (Handler, error) {
	method, event := req.Method(), ""
	if method == sip.Other {
		return nil, &sip.Refused{Why: roam.NoAbility, Code: 501, Fields: []sip.Field{{Name: sip.Allow, Value: m.Allow()}}}
	}
	if method == sip.NOTIFY || method == sip.SUBSCRIBE {
		event, _, _ = strings.Cut(strings.ToLower(string(req.Value(sip.Event))), ";")
		event = strings.TrimSpace(event)
		if h := m.routes[route{method, event}]; h != nil {
			return h, nil
		}
		if m.events != "" && event != "" {
			return nil, &sip.Refused{Why: roam.NoAbility, Code: 489, Fields: []sip.Field{{Name: sip.AllowEvents, Value: m.events}}}
		}
	}
	if h := m.routes[route{method, ""}]; h != nil {
		return h, nil
	}
	return nil, &sip.Refused{Why: roam.NoAbility, Code: 405, Fields: []sip.Field{{Name: sip.Allow, Value: m.Allow()}}}
}

// required is 8.2.2.3.
func (m *Mux) required(req *sip.Message) error {
	var unknown []sip.Field
	for _, n := range [...]sip.Name{sip.Require, sip.ProxyRequire} {
		for tag := range req.Values(n) {
			known := false
			for _, s := range m.supported {
				known = known || strings.EqualFold(s, string(tag))
			}
			if !known {
				unknown = append(unknown, sip.Field{Name: sip.Unsupported, Value: string(tag)})
			}
		}
	}
	if unknown != nil {
		return &sip.Refused{Why: roam.NoAbility, Code: 420, Fields: unknown}
	}
	return nil
}

// cseq is a CSeq's value.
func cseq(n uint32, method string) string {
	return strconv.FormatUint(uint64(n), 10) + " " + method
}
