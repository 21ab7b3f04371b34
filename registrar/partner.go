package registrar

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// The bodies between registrars. Each is JSON with a version.
const (
	officeType   = "application/vnd.siproam.office+json"
	visitType    = "application/vnd.siproam.visit+json"
	locationType = "application/vnd.siproam.location+json"
)

// errWrongOffice says that a flow leads to another office than it should: nothing is sent there.
var errWrongOffice = errors.New("the other end is not that office")

// silent is what to do when o does not answer (M9).
func (s *Server) silent(o roam.OfficeID) roam.SilencePolicy {
	base := s.cfg.HomeSilent
	if p, found := s.partner(o); found && p.HomeSilent != nil {
		base = p.HomeSilent.Over(base)
	}
	if base.After == 0 {
		base.After = roam.Duration(4 * time.Second)
	}
	return base
}

// ask sends a request to a partner: build writes it but for Via. done comes once, with a final
// response, or with an error when the office did not answer in time.
func (s *Server) ask(o roam.OfficeID, uri string, build func(*sip.Writer) error, done func(*sip.Message, error)) {
	s.askFor(s.silent(o).After.D(), o, uri, func(w *sip.Writer, _ *sip.Flow) error { return build(w) }, done)
}

// askFor is ask, with a time of its own, and the flow that the request goes by.
func (s *Server) askFor(patience time.Duration, o roam.OfficeID, uri string, build func(*sip.Writer, *sip.Flow) error, done func(*sip.Message, error)) {
	u, err := sip.ParseURI([]byte(uri))
	if err != nil {
		s.loop.Later(func() { done(nil, err) })
		return
	}
	over, began := false, s.loop.Now()
	once := func(res *sip.Message, err error) {
		if res != nil && res.Status() < 200 {
			return
		}
		s.noted(o, err)
		if over {
			return
		}
		over = true
		s.others.answered(o, err == nil)
		if err == nil {
			s.partners.Observe(s.loop.Now().Sub(began).Seconds(), string(o), res.Method().String())
		}
		done(res, err)
	}
	late := s.loop.After(patience, func() { once(nil, roam.Timeout) })
	s.tl.Request(transaction.Destination{URI: u}, func(w *sip.Writer, f *sip.Flow) error {
		if f.Office() != o {
			return errWrongOffice
		}
		return build(w, f)
	}, func(res *sip.Message, err error) {
		if res == nil || res.Status() >= 200 {
			late.Stop()
		}
		once(res, err)
	})
}

// refusal is the roam.Refusal that a partner's final response means; OK for a 2xx.
func refusal(res *sip.Message, err error) roam.Refusal {
	if err != nil {
		return roam.HomeSilent
	}
	if res.Status()/100 == 2 {
		return roam.OK
	}
	like := roam.Refusal(0)
	for _, r := range roam.Refusals() {
		code, reason, _ := sip.Status(r)
		if code == res.Status() && reason == res.Reason() {
			return r
		}
		if code == res.Status() && like == 0 {
			like = r
		}
	}
	if like == 0 {
		return roam.HomeSilent
	}
	return like
}

// relayed is a partner's refusal as the phone gets it: its code, its words, its challenge.
func relayed(res *sip.Message, proxy bool) error {
	r := &sip.Refused{Why: refusal(res, nil), Code: res.Status(), Reason: res.Reason(), Fields: []sip.Field{}}
	if r.Code < 400 || r.Code > 599 {
		return roam.HomeSilent
	}
	challenge := sip.WWWAuthenticate
	if proxy && r.Code == 401 {
		r.Code, r.Reason, challenge = 407, "", sip.ProxyAuthenticate
	}
	for v := range res.Values(sip.WWWAuthenticate) {
		r.Fields = append(r.Fields, sip.Field{Name: challenge, Value: string(v)})
	}
	for _, n := range [...]sip.Name{sip.RetryAfter, sip.MinExpires, sip.Unsupported, sip.Require, sip.Warning} {
		for v := range res.Lines(n) {
			r.Fields = append(r.Fields, sip.Field{Name: n, Value: string(v)})
		}
	}
	return r
}

// body reads m's body of the given type.
func body(m *sip.Message, contentType string, into any) bool {
	given, _, _ := strings.Cut(string(m.Value(sip.ContentType)), ";")
	return strings.EqualFold(strings.TrimSpace(given), contentType) && json.Unmarshal(m.Body(), into) == nil
}

// addressed writes what all our requests to partners have in common.
func addressed(w *sip.Writer, method, uri, from, to, callID string, cseq uint32) {
	w.Request(method, uri)
	w.AddInt(sip.MaxForwards, 70)
	w.Add(sip.From, "<"+from+">;tag="+transaction.NewTag())
	w.Add(sip.To, "<"+to+">")
	w.Add(sip.CallID, callID)
	w.Add(sip.CSeq, sequence(cseq, method))
}
