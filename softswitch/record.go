package softswitch

import (
	"time"

	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/roam"
)

// records adds the CDRs of c to cdrs: one for each user this office served. The caller's, when the call came
// from a phone here; the callee's, when the phones are here, when home forwarded the call, or
// when it found nobody; and of each who has forwarded it here. A visitor's go home (METHOD 4); the other office writes what it served.
func (c *Call) records(cdrs []roam.CDR, st media.State, end time.Time) []roam.CDR {
	if c.sibling() || c.ended != nil && c.ended.challenge {
		return cdrs
	}
	if c.from == "" {
		r := c.record(&c.caller, "caller", st, end)
		r.To = c.meant()
		cdrs = append(cdrs, r)
	}
	if len(c.diverted) > c.before {
		cdrs = append(cdrs, c.forwarders(func(p *party, role string) roam.CDR { return c.record(p, role, st, end) })...)
	}
	if c.taken { // the office that has the call writes it: a user is charged for one
		return cdrs
	}
	if c.local || c.kind == roam.Transit && len(c.diverted) == c.before {
		cdrs = append(cdrs, c.record(&c.callee, "callee", st, end))
	}
	return cdrs
}

// record is the CDR about p. end is zero while the call is up.
func (c *Call) record(p *party, role string, st media.State, end time.Time) roam.CDR {
	e := c.ended
	if end.IsZero() {
		e = &ending{status: 200}
	}
	home := p.home
	if c.s.cfg.Foreign[home] != nil { // it takes none: they stay here
		home = c.s.cfg.Card.Office
	}
	return roam.CDR{
		Version: 1, ID: c.own + "-" + role, Call: c.id, ICID: c.icid, Session: c.session,
		Office: c.s.cfg.Card.Office, Home: home, User: p.user, Role: role,
		From: c.caller.shown(), To: c.toShown(), Dialled: c.dialled, Kind: c.kind, Roaming: p.visitor,
		Start: c.start, Answered: c.answered, End: end,
		Status: e.status, Cause: e.cause, By: e.by, Reason: e.why,
		Codec: st.Codec, Media: [2]roam.Traffic{st.A, st.B},
	}
}

// toShown is the callee, or what was dialled when that was nobody.
func (c *Call) toShown() string {
	if to := c.callee.shown(); to != "" {
		return to
	}
	return c.dialled
}

// writeOpen writes the records at the answer, so that a crash leaves them.
func (c *Call) writeOpen() { c.write(c.bridge.State(), time.Time{}) }

// write hands the records to the ledger. The call stays in memory until they are safe; SIP does not wait.
func (c *Call) write(st media.State, end time.Time) {
	s := c.s
	s.cdrs = c.records(s.cdrs[:0], st, end)
	if len(s.cdrs) == 0 {
		return
	}
	c.rows++
	s.ledger.Write(c.number, s.cdrs, func(err error) {
		if c.rows--; err != nil {
			s.log.Error().Str("event", "cdr.lost").Str("call", c.id).Str("icid", c.icid).Str("id", c.own).Err(err).Msg("charging records not kept")
		}
		c.leave()
	})
}

// finish closes the media, counts, logs and writes the final records.
func (c *Call) finish() {
	s, end, st := c.s, c.s.loop.Now(), media.State{}
	if c.bridge != nil {
		st = c.bridge.Close()
	}
	if c.ended.unanswered {
		c.answered = time.Time{}
	} else if !c.answered.IsZero() {
		c.ended.status = 200 // of the attempt; by, cause and reason tell its end
	}
	s.give(&c.caller)
	s.give(&c.callee)
	if c.counted {
		s.count.up(c.kind, -1)
		c.counted = false
	}
	s.count.ended(c, end)
	c.logEnd(st, end)
	c.write(st, end)
	c.leave()
}

// leave forgets the call when it is over and its records are safe.
func (c *Call) leave() {
	if c.over && c.rows == 0 && c.s.calls[c.id] == c {
		delete(c.s.calls, c.id)
		c.s.drained()
	}
}

// logEnd writes the one line of a finished call.
func (c *Call) logEnd(st media.State, end time.Time) {
	e := c.s.log.Info().Str("event", "call.end").Str("call", c.id).Str("call_id", c.a.callID).Str("icid", c.icid).Str("session_id", c.session).
		Str("user", c.caller.shown()).Str("to", c.toShown()).Str("kind", string(c.kind)).
		Int("status", c.ended.status).Int("q850", c.ended.cause).Str("by", c.ended.by).Str("reason", c.ended.why)
	if !c.rang.IsZero() {
		e = e.Int64("setup_ms", c.rang.Sub(c.start).Milliseconds())
	}
	if !c.answered.IsZero() {
		e = e.Int64("talk_s", int64(end.Sub(c.answered).Seconds())).Str("codec", st.Codec).
			Float64("lost_pct", lostPercent(st.A, st.B)).Float64("jitter_ms", max(st.A.Jitter, st.B.Jitter))
	}
	if c.from != "" {
		e = e.Str("peer", string(c.from))
	} else if n := len(c.tries); n > 0 {
		e = e.Str("peer", string(c.tries[n-1].office))
	}
	e.Msg("call ended")
}

// lostPercent is the share of packets that did not arrive, in tenths of a percent.
func lostPercent(sides ...roam.Traffic) float64 {
	var lost, all uint64
	for _, t := range sides {
		lost += t.Lost
		all += t.Packets + t.Lost
	}
	if all == 0 {
		return 0
	}
	return float64(lost*1000/all) / 10
}
