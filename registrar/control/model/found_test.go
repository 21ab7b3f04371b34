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
		{"home from an old file, with a clock that is late: what it has ended it can begin again", many, []event{
			{what: "back up"},
			{what: "move", pause: 12 * time.Millisecond},
			{what: "restore", flag: true, pause: 12 * time.Millisecond},
			{what: "move", pause: 12 * time.Millisecond},
			{what: "move", office: 1},
			{what: "bye"},
			{what: "move", office: 1},
		}},
		{"a phone whose REGISTER was late, and which has been restarted elsewhere meanwhile", many, []event{
			{what: "move", office: 1},
			{what: "move", office: 0},
		}},
		{"a strict office whose refusal of a goodbye was wrong: home had heard it", policy{many: true, strict: true}, []event{
			{what: "move", office: 3, pause: 25 * time.Millisecond},
			{what: "weather", flag: true, n: 1, pause: 11 * time.Minute},
			{what: "bye", pause: 25 * time.Millisecond},
		}},
		{"a goodbye that home has heard, and the disk of who passed it on did not take", many, []event{
			{what: "move", user: 3, office: 1, pause: 100 * time.Millisecond},
			{what: "disk full", office: 1, flag: true},
			{what: "bye", user: 3},
			{what: "move", user: 3, office: 0, pause: 100 * time.Millisecond},
		}},
	} {
		t.Run(c.name, func(t *testing.T) { history(t, everywhere(c.policy), c.events) })
	}
}
