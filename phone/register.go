package phone

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
)

// registration is one run of REGISTERs with one Call-ID (RFC 3261 10.2).
type registration struct {
	l       *line
	callID  string
	tag     string
	seq     uint32
	expires time.Duration
	creds   credentials
}

func (l *line) newRegistration() *registration {
	return &registration{
		l: l, callID: sip.GenerateTagN(20), tag: sip.GenerateTagN(10), expires: l.p.cfg.Expires,
		creds: credentials{login: l.p.cfg.Login, password: l.p.cfg.Password},
	}
}

// The waits after a registration that did not succeed.
const (
	retryRefused = 30 * time.Second
	retryLost    = 2 * time.Second
	goodbyeIn    = 2 * time.Second // de-registering and hanging up, at the end
)

// keepRegistered registers, and refreshes before the time is over, until ctx ends. It gives what is to
// be taken back then, nil for nothing.
func (l *line) keepRegistered(ctx context.Context) *registration {
	r := l.newRegistration()
	was := false
	for {
		granted, retry, err := r.register(ctx, r.expires)
		if ctx.Err() != nil {
			break
		}
		wait := granted * 3 / 4
		var no *Refused
		switch {
		case err == nil:
			if !was {
				l.p.cfg.Log.Info().Str("event", "phone.registered").Str("proxy", l.proxy).Dur("expires", granted).Msg("phone registered")
			}
			l.p.note(nil)
		case errors.As(err, &no):
			l.p.cfg.Log.Warn().Str("event", "phone.refused").Str("proxy", l.proxy).Int("status", no.Code).Msg("phone not registered")
			l.p.note(err)
			wait = retryRefused
			if retry > 0 { // RFC 3261 20.33: the office says when
				wait = retry
			}
		default:
			l.p.cfg.Log.Warn().Str("event", "phone.lost").Str("proxy", l.proxy).Err(err).Msg("office does not answer")
			wait = retryLost
		}
		was = err == nil
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-l.broken:
		case <-ctx.Done():
		}
		pause.Stop()
		if ctx.Err() != nil {
			break
		}
	}
	if !was {
		return nil
	}
	return r
}

// register sends one REGISTER, and again with an answer to the challenge or a longer time when asked
// to (10.3). It gives the time granted, and Retry-After with a refusal, a *[Refused].
func (r *registration) register(ctx context.Context, expires time.Duration) (granted, retry time.Duration, err error) {
	challenged := 0
	for range 5 {
		req := r.request(expires)
		if err := r.creds.apply(req); err != nil {
			return 0, 0, err
		}
		to, err := r.l.toProxy()
		if err != nil {
			return 0, 0, err
		}
		res, err := r.l.ask(ctx, req, to, nil)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case res.IsSuccess():
			return r.granted(res, expires), 0, nil
		case r.creds.retry(res, challenged):
			challenged++
			continue
		case res.StatusCode == sip.StatusIntervalToBrief && seconds(res, "Min-Expires") > expires:
			expires = seconds(res, "Min-Expires")
			r.expires = expires
			continue
		}
		r.creds.challenge = nil
		return 0, seconds(res, "Retry-After"), refused(res)
	}
	return 0, 0, fmt.Errorf("register: challenged again and again")
}

// request is the next REGISTER.
func (r *registration) request(expires time.Duration) *sip.Request {
	p := r.l.p
	registrar := sip.Uri{Scheme: "sip", Host: p.aor.Host, Port: p.aor.Port}
	req := r.l.newRequest(sip.REGISTER, registrar)
	req.AppendHeader(&sip.FromHeader{Address: *p.aor.Clone(), Params: sip.HeaderParams{{K: "tag", V: r.tag}}})
	req.AppendHeader(&sip.ToHeader{Address: *p.aor.Clone()})
	callID := sip.CallIDHeader(r.callID)
	req.AppendHeader(&callID)
	r.seq++
	req.AppendHeader(&sip.CSeqHeader{SeqNo: r.seq, MethodName: sip.REGISTER})
	req.AppendHeader(sip.NewHeader("Contact", r.l.contact()))
	req.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(expires/time.Second))))
	req.SetBody(nil)
	return req
}

// granted is the time our Contact was given (10.2.4), else what the whole answer says, else what was asked.
func (r *registration) granted(res *sip.Response, asked time.Duration) time.Duration {
	for _, h := range res.GetHeaders("contact") {
		c, ok := h.(*sip.ContactHeader)
		if !ok || c.Address.Host != r.l.host || c.Address.Port != r.l.port {
			continue
		}
		if v, found := c.Params.Get("expires"); found {
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				return time.Duration(n) * time.Second
			}
		}
	}
	if s := seconds(res, "Expires"); s > 0 {
		return s
	}
	return asked
}

// deregister takes the binding back (10.2.2).
func (r *registration) deregister(ctx context.Context) {
	if _, _, err := r.register(ctx, 0); err != nil {
		r.l.p.cfg.Log.Debug().Err(err).Msg("phone went without goodbye")
	}
}

// seconds is a header that holds a number of seconds, 0 when it does not.
func seconds(res *sip.Response, name string) time.Duration {
	h := res.GetHeader(name)
	if h == nil {
		return 0
	}
	var n int
	if _, err := fmt.Sscanf(h.Value(), "%d", &n); err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// newRequest is a request with a Via of its own; the caller appends the rest.
func (l *line) newRequest(method sip.RequestMethod, to sip.Uri) *sip.Request {
	req := sip.NewRequest(method, to)
	req.SetTransport(l.transport())
	req.AppendHeader(l.via())
	req.AppendHeader(sip.NewHeader("Max-Forwards", "70"))
	req.AppendHeader(sip.NewHeader("User-Agent", l.p.cfg.Agent))
	return req
}

func (l *line) via() *sip.ViaHeader {
	return &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: l.transport(), Host: l.host, Port: l.port,
		Params: sip.HeaderParams{{K: "branch", V: sip.GenerateBranchN(16)}, {K: "rport"}},
	}
}
