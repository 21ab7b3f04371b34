package model

import (
	"testing"
	"time"
)

// Histories that broke a rule once, as rapid made them short.

// everywhere is the same policy at all offices.
func everywhere(p policy) (all [officesHere]policy) {
	for i := range all {
		all[i] = p
	}
	return all
}

func TestFound(t *testing.T) {
	many := policy{many: true}
	for _, c := range []struct {
		name   string
		policy policy
		events []event
	}{
		{"a visitor with another device at home, called from where he visits: both ring", many, []event{
			{what: "move", user: 1, phone: 0, office: 0},
			{what: "move", user: 1, phone: 1, office: 1, pause: 10 * time.Second},
		}},
	} {
		t.Run(c.name, func(t *testing.T) { history(t, everywhere(c.policy), c.events) })
	}
}
