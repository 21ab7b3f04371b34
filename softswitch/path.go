package softswitch

import (
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Roam-Path says what a call has behind it: the offices that it came through, in order, and, marked silent, those that
// were asked and said nothing.
//
//	Roam-Path: west, south;silent
//
// An office that finds itself in it sends the call on no more: however wrong the tables of offices are, no call goes
// round. And whoever is asked next does not wait once more for who is silent.

// longestPath is more offices than any call needs: the caller's, home, the callee's.
const longestPath = 4

// behind is what a call has behind it.
type behind struct {
	path   []roam.OfficeID
	silent []roam.OfficeID
}

// readPath reads Roam-Path of a partner's request.
func readPath(req *sip.Message) (b behind) {
	for v := range req.Values(sip.RoamPath) {
		name, params, _ := strings.Cut(string(v), ";")
		o := roam.OfficeID(strings.TrimSpace(name))
		if _, silent := sip.Params(params).Get("silent"); silent {
			b.silent = append(b.silent, o)
		} else {
			b.path = append(b.path, o)
		}
		if len(b.path)+len(b.silent) > 4*longestPath {
			break // it has come far enough, whatever else it says
		}
	}
	return b
}

// text is b with one more office on the path.
func (b *behind) text(here roam.OfficeID) string {
	var w strings.Builder
	for _, o := range b.path {
		if o != here { // by way of another softswitch of ours
			w.WriteString(string(o) + ", ")
		}
	}
	w.WriteString(string(here))
	for _, o := range b.silent {
		w.WriteString(", " + string(o) + ";silent")
	}
	return w.String()
}

// goesRound says that the call has been here before, or has come too far, to be sent on.
func (c *Call) goesRound() bool {
	if c.sibling() { // the office has not changed
		return false
	}
	return len(c.behind.path) >= longestPath || slices.Contains(c.behind.path, c.s.cfg.Card.Office)
}

// mute says that the office of at is known to be dead, or was silent to this call before.
func (c *Call) mute(at roam.Location) bool {
	return slices.Contains(c.behind.silent, at.Office) || c.s.router.Dead(at)
}

// deaf notes that the office of l did not answer.
func (c *Call) deaf(l *Leg) {
	if l.office == "" || l.stray || l.office == c.s.cfg.Card.Office { // another softswitch of ours says nothing of the others
		return
	}
	if !slices.Contains(c.behind.silent, l.office) {
		c.behind.silent = append(c.behind.silent, l.office)
	}
	c.s.router.Doubt(l.office, l.at)
}
