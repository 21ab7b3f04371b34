package registrar

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
)

// steps compares what offices did with what METHOD says they do, message by message.
func (w *world) steps(want string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortStableFunc(w.ladder, func(a, b rung) int { // of one moment: what arrives, then what comes of it
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(strings.Index(b.text, ">"), strings.Index(a.text, ">")), cmp.Compare(a.text, b.text))
	})
	got := make([]string, len(w.ladder))
	for i, r := range w.ladder {
		got[i] = r.text
	}
	lines := strings.FieldsFunc(want, func(r rune) bool { return r == '\n' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	if !slices.Equal(got, lines) {
		w.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
	w.ladder = nil
}

// TestMethod21to23 carries alice's phone from home to south (METHOD 2.1), to west (2.3), and home again (2.2).
func TestMethod21to23(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		register := func(o roam.OfficeID) {
			t.Helper()
			if code := p.register(); code != 200 || len(p.bindings()) != 1 {
				t.Fatalf("at %s: got %d %s with %q, want 200 with one binding", o, code, p.last.Reason(), p.bindings())
			}
			w.agree(o)
		}
		register("north") // 200-240
		w.steps(`
			north allocates
			north reports north true`)
		p.carry("south")
		register("south")
		w.steps(`
			south>north OPTIONS
			south>north REGISTER query
			south>north REGISTER query
			south allocates
			south>north REGISTER message
			north releases
			north reports south true
			south reports south true`)
		p.carry("west")
		register("west")
		w.steps(`
			west>north OPTIONS
			west>north REGISTER query
			west>south OPTIONS
			west>north REGISTER query
			west allocates
			west>north REGISTER message
			north reports west true
			north>south NOTIFY
			south releases
			south reports west true
			west reports west true
			west>south NOTIFY`)
		p.carry("north")
		register("north")
		w.steps(`
			north allocates
			north reports north true
			north>west NOTIFY
			west releases
			west reports north true`)
	})
}

// TestRefresh: a REGISTER that changes nothing writes nothing and tells nobody, at home; away, home decides, in one message.
func TestRefresh(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		for _, o := range []roam.OfficeID{"north", "south"} {
			p.carry(o)
			for range 3 {
				if code := p.register(); code != 200 {
					t.Fatalf("at %s: got %d, want 200", o, code)
				}
			}
			w.agree(o)
		}
		w.mu.Lock()
		w.ladder = nil
		w.mu.Unlock()
		p.register()
		w.steps(`
			south>north REGISTER message`)
		p.carry("north")
		p.register()
		w.agree("north")
		w.mu.Lock()
		w.ladder = nil
		w.mu.Unlock()
		p.register()
		w.steps(``)
	})
}
