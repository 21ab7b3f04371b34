package dialog

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// peer is the other end of a dialog: what 12.1 has each side keep of the other. It is a
// value in the sense that only target changes once its dialog is confirmed.
type peer struct {
	tag    string
	addr   string   // our To in requests, with the tag
	target string   // remote target: its Contact
	routes []string // route set, first hop first
	seq    uint32   // CSeq of its last request
}

// ofRequest is who sent an INVITE (12.1.1).
func ofRequest(req *sip.Message) *peer {
	p := &peer{seq: req.CSeq()}
	p.addr, p.tag = req.FromTagged()
	p.learn(req)
	if from, err := req.From(); err == nil && p.target == "" {
		p.target = from.Raw // RFC 2543 6.13: without a Contact requests go to From
	}
	return p
}

// ofResponse is who answered our INVITE; its Record-Route reads from its end (12.1.2).
func ofResponse(res *sip.Message, target string) *peer {
	p := &peer{target: target}
	p.addr, p.tag = res.ToTagged()
	p.answered(res)
	return p
}

// answered takes the route set and the target from a response.
func (p *peer) answered(res *sip.Message) {
	p.routes = nil
	p.learn(res)
	slices.Reverse(p.routes)
}

func (p *peer) learn(m *sip.Message) {
	for r := range m.Values(sip.RecordRoute) {
		p.routes = append(p.routes, string(r))
	}
	p.refresh(m)
}

// refresh takes the remote target from Contact (12.2.1.2, 12.2.2). The route set stays.
func (p *peer) refresh(m *sip.Message) {
	for c := range m.Values(sip.Contact) {
		if a, err := sip.ParseAddress(c); err == nil && !a.Star {
			p.target = a.Raw
		}
		return
	}
}

// route is Request-URI, Route, and the URI that the request goes to (12.2.1.1).
func (p *peer) route() (uri string, routes []string, next string) {
	if len(p.routes) == 0 {
		return p.target, nil, p.target
	}
	first, err := sip.ParseAddress([]byte(p.routes[0]))
	if err != nil {
		return p.target, p.routes, p.target
	}
	if _, loose := first.URI.Params.Get("lr"); loose {
		return p.target, p.routes, first.Raw
	}
	return first.Raw, append(slices.Clone(p.routes[1:]), "<"+p.target+">"), first.Raw // a strict router
}

// destination is where a request to p goes: down the flow while that lives, when p is a
// phone or a partner, or when the flow is a connection to the next hop; by the flow that the phone came
// back by; else where the next hop is (12.2.1.1, RFC 5626 5.3), by what transport its length allows (18.1.1).
func (d *Dialog) destination(p *peer) transaction.Destination {
	if d.flow != nil && (d.byFlow || d.flow.Partner != "") {
		if to, gone := d.table.tl.Target(roam.Target{Flow: d.flow.Flow}); gone == nil {
			return to
		}
	}
	if d.byFlow && d.server == nil && (d.flow == nil || d.flow.Partner == "") {
		if r, asked := d.events.(Returner); asked {
			if f := r.Returned(); f != nil {
				d.flow = f
				return transaction.Destination{Flow: f}
			}
		}
	}
	_, _, next := p.route()
	u, err := sip.ParseURI([]byte(next))
	if d.flow != nil && (err != nil || leadsTo(d.flow, u)) {
		if to, gone := d.table.tl.Target(roam.Target{Flow: d.flow.Flow}); gone == nil {
			return to
		}
	}
	if err != nil {
		return transaction.Destination{Flow: d.flow} // nowhere else: fails when that is gone
	}
	return transaction.Destination{URI: u}
}

// leadsTo says that f is a connection to where u says, so that nothing need be resolved.
func leadsTo(f *sip.Flow, u sip.URI) bool {
	if !f.Transport.Stream() {
		return false
	}
	ip, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	if err != nil || ip.Unmap() != f.Remote.Addr().Unmap() {
		return false
	}
	transport, port := u.Transport(), u.Port
	if transport == "" {
		transport = "udp"
	}
	if port == 0 && transport == "tls" {
		port = 5061
	} else if port == 0 {
		port = 5060
	}
	return port == f.Remote.Port() && strings.EqualFold(transport, f.Transport.String())
}

// write begins a request to p: line, Max-Forwards, Route, From, To, Call-ID, CSeq.
func (d *Dialog) write(w *sip.Writer, p *peer, method sip.Method, seq uint32) {
	uri, routes, _ := p.route()
	w.Request(method.String(), uri)
	w.AddInt(sip.MaxForwards, 70)
	for _, r := range routes {
		w.Add(sip.Route, r)
	}
	w.Add(sip.From, d.self)
	w.Add(sip.To, p.addr)
	w.Add(sip.CallID, d.callID)
	w.AddCSeq(seq, method.String())
}

// contactOn is our Contact as the other end of f reaches us.
func (d *Dialog) contactOn(f *sip.Flow) string {
	if d.contact != nil {
		return d.contact(f)
	}
	if f.Partner == "" {
		return string(d.flowContact(f))
	}
	return "<sip:" + f.Here + transportOf(f) + ">"
}

// addContact writes it.
func (d *Dialog) addContact(w *sip.Writer, f *sip.Flow) {
	if d.contact != nil {
		w.Add(sip.Contact, d.contact(f))
		return
	}
	if f.Partner == "" {
		w.AddBytes(sip.Contact, d.flowContact(f))
		return
	}
	w.Add(sip.Contact, "<sip:", f.Here, transportOf(f), ">")
}

// transportOf is the URI parameter that names f's transport.
func transportOf(f *sip.Flow) string {
	switch f.Transport {
	case roam.TCP:
		return ";transport=tcp"
	case roam.TLS:
		return ";transport=tls"
	case roam.WS, roam.WSS:
		return ";transport=ws"
	}
	return ""
}

// hasContact says that a request and its 2xx name a target (RFC 3261 table 2, 3311, 3515, 6665).
func hasContact(m sip.Method) bool {
	switch m {
	case sip.INVITE, sip.UPDATE, sip.REFER, sip.SUBSCRIBE, sip.NOTIFY:
		return true
	}
	return false
}
