package softswitch

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

// CallView is a call as `calls` shows it.
type CallView struct {
	ID       string          `json:"id"`
	Start    time.Time       `json:"start"`
	Answered time.Time       `json:"answered,omitzero"`
	From     string          `json:"from"`
	To       string          `json:"to"`
	Kind     roam.Kind       `json:"kind"`
	State    string          `json:"state"` // "ringing", "talking", "on hold", "ending"
	Codec    string          `json:"codec,omitempty"`
	ICID     string          `json:"icid"`
	Session  string          `json:"session"`
	Media    [2]roam.Traffic `json:"media"`
	CallIDs  [2]string       `json:"call_ids"`
}

// Calls lists the calls in progress, oldest first. It waits for the loop.
func (s *Switch) Calls(ctx context.Context) (views []CallView, err error) {
	err = s.loop.Do(ctx, func() {
		views = make([]CallView, 0, len(s.calls))
		for _, c := range s.calls {
			views = append(views, c.view())
		}
	})
	slices.SortFunc(views, func(a, b CallView) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return views, err
}

// view is c as people see it.
func (c *Call) view() CallView {
	v := CallView{ID: c.id, Start: c.start, Answered: c.answered, From: c.caller.shown(), To: c.callee.shown(), Kind: c.kind,
		State: "ringing", ICID: c.icid, Session: c.session}
	v.CallIDs[0] = c.a.callID
	if b := c.ringing(); b != nil {
		v.CallIDs[1] = b.callID
	}
	held := false
	if c.bridge != nil {
		st := c.bridge.State()
		v.Codec, held, v.Media = st.Codec, st.Held, [2]roam.Traffic{st.A, st.B}
	}
	switch {
	case c.over:
		v.State = "ending"
	case !c.answered.IsZero() && held:
		v.State = "on hold"
	case !c.answered.IsZero():
		v.State = "talking"
	}
	return v
}

// ringing is the leg that won, or the only one that may.
func (c *Call) ringing() *Leg {
	if c.b != nil || len(c.bs) == 0 {
		return c.b
	}
	return c.bs[len(c.bs)-1]
}

// Hangup ends a call by its id; found is false when there is none.
func (s *Switch) Hangup(ctx context.Context, id string) (found bool, err error) {
	err = s.loop.Do(ctx, func() {
		if c := s.calls[id]; c != nil && !c.over {
			found = true
			c.stop(ending{status: 480, cause: 16, by: "office", why: "hung up by the operator"})
		}
	})
	return found, err
}

// Drain refuses new calls and ends those there are, each with its record; done when none is left.
func (s *Switch) Drain(done func()) {
	if done == nil {
		done = func() {}
	}
	s.draining = done
	for _, c := range s.calls {
		c.stop(ending{status: 503, cause: 41, by: "office", why: "shutdown"})
	}
	s.drained()
}

// drained tells Drain's caller, once, when no call is left.
func (s *Switch) drained() {
	if s.draining != nil && len(s.calls) == 0 {
		done := s.draining
		s.draining = func() {}
		s.loop.Later(done)
	}
}
