package softswitch

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/softswitch/plan"
)

// This file is the one place where header fields cross from leg to leg. A field not named here
// does not cross: a new INVITE has our Contact, Allow, User-Agent; From and To by plan.Shown.
//
//	to a phone     Subject, Session-ID, Diversion
//	to an office   Subject, Session-ID, Diversion, Privacy, P-Asserted-Identity, P-Charging-Vector, Roam-Epoch, Roam-Service
//	to a foreign one  Subject, Session-ID, Diversion, Privacy, P-Asserted-Identity; Proxy-Authorization of its own user
//	to the caller  Session-ID; from a foreign home its challenge to its own user
//	BYE, CANCEL    Reason
//	INFO, MESSAGE  Content-Type and the body

// agent is our User-Agent.
const agent = "siproam"

// noSession is the nil UUID: the other end is not known yet (RFC 7989 4.1).
const noSession = "00000000000000000000000000000000"

// read takes from the caller's INVITE what may cross.
func (c *Call) read(req *sip.Message) {
	if len(req.Body()) > 0 {
		c.offer = bytes.Clone(req.Body())
	}
	c.subject = plain(req.Value(sip.Subject))
	privacy := strings.ToLower(string(req.Value(sip.Privacy)))
	for _, word := range strings.FieldsFunc(privacy, func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
		c.private = c.private || word == "id" || word == "user" || word == "header"
	}
	if c.session = session(req); c.session == "" {
		c.session = newSession()
	}
	if c.caller.visitor && c.caller.at().Home.Foreign {
		for v := range req.Values(sip.ProxyAuthorization) {
			c.credentials = append(c.credentials, string(v))
		}
	}
	if req.Flow.Partner != "" {
		if icid, found := sip.Params(req.Value(sip.PChargingVector)).Get("icid-value"); found && icid != "" && len(icid) <= 128 && icid == plain(icid) {
			c.icid = icid
		}
	}
}

// session is the sender's half of Session-ID, "" when there is none.
func session(m *sip.Message) string {
	id, _, _ := strings.Cut(string(m.Value(sip.SessionID)), ";")
	if id = strings.ToLower(strings.TrimSpace(id)); len(id) != len(noSession) || id == noSession || strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return id
}

// farEnd learns the callee's half of Session-ID, or makes one for a phone that has none.
func (c *Call) farEnd(res *sip.Message) {
	if id := session(res); id != "" {
		c.far = id
	} else if c.far == noSession {
		c.far = newSession()
	}
}

// across is what every INVITE of ours to a B leg carries.
func (c *Call) across(l *Leg) []sip.Field {
	fields := []sip.Field{
		{Name: sip.Allow, Value: allow},
		{Name: sip.UserAgent, Value: agent},
		{Name: sip.SessionID, Value: c.session + ";remote=" + c.far},
	}
	if c.subject != "" {
		fields = append(fields, sip.Field{Name: sip.Subject, Value: c.subject})
	}
	fields = append(fields, c.diversions()...)
	if c.private && l.office != "" {
		fields = append(fields, sip.Field{Name: sip.Privacy, Value: "id"})
	}
	return fields
}

// toPartner is what only another office may be told: who calls, the charging id, the epoch.
func (c *Call) toPartner(at roam.Location) []sip.Field {
	identity := c.canonical().String()
	if number := c.speaker().Number; strings.HasPrefix(number, "+") {
		identity += ", <tel:" + number + ">"
	}
	fields := []sip.Field{
		{Name: sip.PAssertedIdentity, Value: identity},
		{Name: sip.PChargingVector, Value: "icid-value=" + sip.Quote(c.icid) + ";orig-ioi=" + string(c.s.cfg.Card.Office)},
	}
	if plan.Serves(c.facts()) {
		fields = append(fields, sip.Field{Name: sip.RoamService, Value: forwarded})
	}
	if at.Epoch != 0 {
		fields = append(fields, sip.Field{Name: sip.RoamEpoch, Value: strconv.FormatUint(uint64(at.Epoch), 10)})
	}
	return append(fields, sip.Field{Name: sip.RoamPath, Value: c.behind.text(c.s.cfg.Card.Office)})
}

// toCaller is what a provisional or final answer to the caller carries.
func (c *Call) toCaller() []sip.Field {
	return []sip.Field{{Name: sip.Allow, Value: allow}, {Name: sip.SessionID, Value: c.far + ";remote=" + c.session}}
}

// takenElsewhere says that a CANCEL is because another device of the callee's has answered (RFC 3326 3.1).
func takenElsewhere(req *sip.Message) bool {
	for v := range req.Values(sip.Reason) {
		protocol, params, _ := strings.Cut(string(v), ";")
		if cause, _ := sip.Params(params).Get("cause"); strings.EqualFold(strings.TrimSpace(protocol), "SIP") && cause == "200" {
			return true
		}
	}
	return false
}

// reasonOf is the Reason of a BYE or CANCEL as it may cross (RFC 3326): SIP and Q.850 causes.
func reasonOf(req *sip.Message) string {
	var kept []string
	for v := range req.Values(sip.Reason) {
		protocol, _, _ := strings.Cut(string(v), ";")
		if p := strings.TrimSpace(protocol); strings.EqualFold(p, "SIP") || strings.EqualFold(p, "Q.850") {
			kept = append(kept, string(v))
		}
	}
	return plain(strings.Join(kept, ", "))
}

// plain is text of one leg as the other may get it: blanks for control characters, which a quoted pair may hold (25.1) and
// which would keep our message from being written, and for octets that are no UTF-8, which some decoders take for CR or LF.
func plain[T string | []byte](text T) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), " "))
}

// causeOf is the Q.850 cause in m's Reason.
func causeOf(m *sip.Message) (cause int, found bool) {
	for v := range m.Values(sip.Reason) {
		protocol, params, _ := strings.Cut(string(v), ";")
		if !strings.EqualFold(strings.TrimSpace(protocol), "Q.850") {
			continue
		}
		text, _ := sip.Params(params).Get("cause")
		if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 128 {
			return n, true
		}
	}
	return 0, false
}
