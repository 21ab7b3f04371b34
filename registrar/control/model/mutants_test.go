package model

import (
	"os"
	"strings"
	"testing"
)

// mutant is one rule of control, or of R's script, taken out.
type mutant struct {
	rule     string // in words
	file     string // of registrar/control, or location.lua
	old, new string // in its source
	test     string // what must turn red; "": TestModel; small: the model of one user beside control, for what takes a rare order; wire: package registrar
}

// small stands for the tests of control itself.
const small = "Test"

// wire stands for the tests of package registrar.
const wire = "TestWire"

// mutants are the rules that the model must miss. TestMutants (build tag mutants) takes out one after the other.
var mutants = []mutant{
	{rule: "a registration message below what is recorded is refused", file: "registration.go",
		old: "if h.old(t) {", new: "if false {"},
	{rule: "a ticket from before the device left is old, too", file: "registration.go",
		old: "for _, l := range h.Left {", new: "for _, l := range h.Left[:0] {"},
	{rule: "a registration message that a later one has overtaken changes nothing", file: "registration.go", test: small,
		old: "return p.CallID == r.CallID && r.CallID", new: "return false && r.CallID"},
	{rule: "a supersede is obeyed above the ticket only", file: "visit.go",
		old: "if ev.Epoch <= at {", new: "if false {"},
	{rule: "a ticket from before the tombstone is good for nothing", file: "visit.go",
		old: "if v.Gone != nil && v.Gone.Epoch > l.Ticket.Epoch {", new: "if false {"},
	{rule: "an acknowledgement strikes out what it names and no newer debt", file: "homechange.go", test: small,
		old: "d.Device == ev.Device && d.Epoch <= ev.Epoch", new: "d.Device == ev.Device"},
	{rule: "the location is computed from all devices, not set by the last one", file: "presence.go",
		old: "return h.Office.Here\n", new: "l = roam.Location{Office: p.Office, Switch: p.Switch, Registrar: p.Registrar}\n"},
	{rule: "the epoch of a new location is above the last", file: "presence.go",
		old: "l.Epoch, l.Since, l.Device = max(next, to.Location.Epoch+1, h.above+1), now, d", new: "l.Epoch, l.Since, l.Device = max(to.Location.Epoch, 1), now, d"},
	{rule: "home goes above an epoch of R that its file does not know", file: "homechange.go",
		old: "if h.now != nil || h.above <= h.Location.Epoch {", new: "if true {"},
	{rule: "the device that is elsewhere now is no longer where it was", file: "presence.go",
		old: "return office != other && same(d, e) || !o.Many && d != e", new: "return !o.Many && d != e"},
	{rule: "devices: one, the newest wins", file: "presence.go",
		old: "return office != other && same(d, e) || !o.Many && d != e", new: "return office != other && same(d, e)"},
	{rule: "who was left is owed a notice", file: "presence.go",
		old: "if q.Office != h.Office.Here.Office && len(q.Contacts) > 0 {", new: "if false {"},
	{rule: "a notice that was not acknowledged is repeated", file: "homechange.go",
		old: "return !now.Before(d.Next) })", new: "return false })"},
	{rule: "who is back is not ended by an older word", file: "presence.go", test: small,
		old: "return d.Device == p.Device && d.To == p.Registrar && d.Epoch < p.Epoch", new: "return false"},
	{rule: "what home may have recorded unheard is not ended by an older word", file: "visit.go", test: small,
		old: "if now.Before(v.doubt) {", new: "if false {"},
	{rule: "an end that the disk did not take is offered it again", file: "unrecorded.go", test: small,
		old: "out = append(out, Drift{})", new: ""},
	{rule: "a restart keeps the debts", file: "row.go",
		old: "if len(k.Owed) > 0 {", new: "if false {"},
	{rule: "a restart keeps the memory of who left", file: "row.go",
		old: "if len(k.Left) > 0 {", new: "if false {"},
	{rule: "nobody sees a move before the disk has it", file: "home.go",
		old: "h.now = c\n\treturn h, append(out, Save{c.to})", new: "h.now = c\n\th.Kept = c.to\n\treturn h, append(out, Save{c.to})"},
	{rule: "what the disk refused is not", file: "homechange.go",
		old: "h, out = h.refuse(roam.NoCapacity, out)", new: "h.Kept = c.to\n\t\th, out = h.refuse(roam.NoCapacity, out)"},
	{rule: "what is under way for the disk learns of acknowledgements, too", file: "homechange.go", test: small,
		old: "c.to.Owed, c.drift = h.settle(now, c.to.Owed, ev), true", new: "c.drift = true"},
	{rule: "a binding that has expired is none", file: "homechange.go",
		old: "if c.Live(now) {", new: "if true {"},
	{rule: "a visit that has expired ends", file: "visitchange.go",
		old: "return !c.Live(now) })", new: "return false })"},
	{rule: "a visit that home did not record, or whose end, is told again", file: "visitchange.go",
		old: "case to.Owes != nil && !now.Before(to.Owes.Next):", new: "case false:"},
	{rule: "a visit that home may have recorded after all is taken back", file: "visit.go", test: wire,
		old: "c.what, c.tx, c.to = forget, 0, v.takeBack(now, c.to)", new: "return v.end(out)"},
	{rule: "a visit that home refuses later ends", file: "unrecorded.go", test: wire,
		old: "return v.save(visiting{what: drop, to: Stay{Gone: v.Gone}}, out)", new: "return v, out"},
	{rule: "a tombstone has an end", file: "visitchange.go",
		old: "if to.Gone != nil && !now.Before(to.Gone.Until) {", new: "if false {"},
	{rule: "devices: one, a timer is no person", file: "presence.go", test: "TestDay",
		old: "by, is = p.Office, true", new: "by, is = p.Office, false"},
	{rule: "devices: one, and not after two hours either", file: "presence.go", test: "TestDay",
		old: "return !now.Before(l.Until) && (", new: "return !now.Before(l.Until) && (true || "},
	{rule: "devices: one, another office is a person", file: "presence.go", test: "TestDay",
		old: "h.forgotten(now, l) || h.hasLeft(l)", new: "h.forgotten(now, l)"},
	{rule: "a phone that insists is where it is", file: "presence.go",
		old: "!(p.Device == d && d != \"\" && l.insists(now))", new: "true"},
	{rule: "R takes nothing older", file: "location.lua",
		old: "if n < highest or", new: "if false and n < highest or"},
}

// source is where m's file is.
func (m mutant) source() string {
	if m.file == "location.lua" {
		return scriptPath
	}
	return "../" + m.file
}

// mutated is m's file without the rule.
func (m mutant) mutated(t *testing.T) string {
	text, err := os.ReadFile(m.source())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Fatalf("%s: %q stands %d times in %s, want once", m.rule, m.old, n, m.file)
	}
	return strings.Replace(string(text), m.old, m.new, 1)
}

// TestMutantsApply: the table fits the sources.
func TestMutantsApply(t *testing.T) {
	for _, m := range mutants {
		m.mutated(t)
	}
}
