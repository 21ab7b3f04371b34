package edge

import (
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Near answers what the softswitch asks its registrar (softswitch.Directory) from the lines it was told. It means the
// same by each question as the registrar does; only Authenticate asks it.

// Line is who user is to us. A phone behind another softswitch of the office is a target there.
func (n *Near) Line(user roam.UserID) (roam.Line, bool) {
	e := n.lines[user]
	if e == nil {
		return roam.Line{}, false
	}
	line := e.line
	line.Targets = slices.Clone(line.Targets)
	return line, !line.Visitor || len(line.Targets) > 0 || line.Gone != nil
}

// Resolve is whose a is, among our subscribers and visitors: canonical, alias or number.
func (n *Near) Resolve(a sip.AOR) (roam.UserID, bool) {
	if u, found := n.named(string(a)); found {
		return u, true
	}
	user, host, _ := strings.Cut(string(a), "@")
	if n.hosts[host] {
		if u, found := n.named(user); found {
			return u, true
		}
		if u, found := n.named(user + "@" + n.cfg.Names[0]); found {
			return u, true
		}
	}
	if n.lines[roam.UserID(a)] != nil {
		return roam.UserID(a), true
	}
	if host == "" || n.hosts[host] {
		u, found := n.numbers[user]
		return u, found
	}
	return "", false
}

// named is our own user who is called name.
func (n *Near) named(name string) (roam.UserID, bool) {
	if u, found := n.names[name]; found {
		return u, true
	}
	e := n.lines[roam.UserID(name)]
	return roam.UserID(name), e != nil && !e.line.Visitor
}

// Whose is the user on whose flow a request came: the one binding's, or of several the one that claims name.
func (n *Near) Whose(f *sip.Flow, claims []sip.AOR) (user roam.UserID, found, many bool) {
	users := n.flows[f.Flow]
	switch len(users) {
	case 0:
		return "", false, false
	case 1:
		for u := range users {
			return u, true, false
		}
	}
	for _, c := range claims {
		if u, ok := n.Resolve(c); ok && users[u] {
			return u, true, false
		}
	}
	return "", false, true
}

// Authenticate has the registrar check the Proxy-Authorization of req. Without credentials, or with wrong ones, err is a
// *sip.Refused with the challenge (407).
func (n *Near) Authenticate(req *sip.Message, user roam.UserID, done func(roam.UserID, error)) {
	uri := "sip:" + string(user)
	n.ask(func(w *sip.Writer) error {
		addressed(w, "REGISTER", n.cfg.Registrar.URI, uri, uri)
		w.Add(sip.RoamDigest, req.MethodText()+";uri="+sip.Quote(string(req.RequestURI())))
		for v := range req.Values(sip.ProxyAuthorization) {
			w.AddBytes(sip.ProxyAuthorization, v)
		}
		w.AddOther(flowField, writeFlow(n.cfg.Self.ID, req.Flow))
		return w.End("", nil)
	}, func(res *sip.Message, err error) {
		switch {
		case err != nil:
			n.silence(nil, err)
			err = &sip.Refused{Why: roam.TooBusy, Reason: "Registrar Does Not Answer"}
		case res.Status()/100 != 2:
			err = refused(res)
		}
		done(user, err)
	})
}

// refused is the registrar's refusal as an error: its code, its words, its challenge.
func refused(res *sip.Message) error {
	r := &sip.Refused{Why: refusalOf(res), Code: res.Status(), Reason: res.Reason(), Fields: []sip.Field{}}
	for _, name := range [...]sip.Name{sip.ProxyAuthenticate, sip.RetryAfter} {
		for v := range res.Values(name) {
			r.Fields = append(r.Fields, sip.Field{Name: name, Value: string(v)})
		}
	}
	return r
}

// refusalOf is the reason that a refusal stands for (sip.Status).
func refusalOf(res *sip.Message) roam.Refusal {
	for _, r := range roam.Refusals() {
		if code, reason, _ := sip.Status(r); code == res.Status() && reason == res.Reason() {
			return r
		}
	}
	for _, r := range roam.Refusals() {
		if code, _, _ := sip.Status(r); code == res.Status() {
			return r
		}
	}
	return roam.NotAllowed
}

// Answers asks whether the softswitch of o at uri answers at all (OPTIONS); routesrv.Store's. done comes once.
func (n *Near) Answers(o roam.OfficeID, uri string, done func(bool)) {
	n.tl.Answers(n.cfg.Self.URI, o, uri, done)
}

// Proven is nobody, likewise.
func (n *Near) Proven(*sip.Flow, string, []sip.AOR) (roam.UserID, bool) { return "", false }

// Mirrored is nobody's: an office of several processes has no foreign partners (office.Config.Validate).
func (n *Near) Mirrored(roam.OfficeID, string) (user roam.UserID, d roam.Device, found bool) {
	return "", "", false
}
