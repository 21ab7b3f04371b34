package office_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/phone"
)

// flow is one story: what happens before the first message of the ladder, and what makes it.
type flow struct {
	name    string
	story   string // first lines of the file
	prepare func(*testing.T, *three)
	play    func(*testing.T, *three)
	// inOrder holds across offices: each line begins with the pair and the start line, and one comes after the other.
	inOrder [][2]string
}

// at has a phone of user n registered at one office, and gives it.
func at(t *testing.T, x *three, n, office string) *phone.Phone {
	t.Helper()
	p := x.phone(n, office, phone.Config{Answer: phone.Talk})
	if _, err := x.plug(p); err != nil {
		t.Fatalf("%s at %s: %v", n, office, err)
	}
	x.located(n, office)
	return p
}

// moves is a flow in which 1001 goes from one office to another.
func moves(name, from, to, story string, inOrder ...[2]string) flow {
	var p *phone.Phone
	return flow{name: name, story: story, inOrder: inOrder,
		prepare: func(t *testing.T, x *three) { p = at(t, x, "1001", from) },
		play: func(t *testing.T, x *three) {
			t.Helper()
			if err := p.Move(within(t, 10*time.Second), x.addr(to, "udp")); err != nil {
				t.Fatalf("1001 moves to %s: %v", to, err)
			}
			x.located("1001", to)
		}}
}

// calls is a flow in which 1002, at home in north, calls callee, who is at south.
func calls(name, story, callee string) flow {
	var bob *phone.Phone
	return flow{name: name, story: story,
		inOrder: [][2]string{
			{"south > " + callee + " INVITE", "south > north 180 INVITE"},
			{callee + " > south 200 INVITE", "south > north 200 INVITE"},
			{"south > north 200 INVITE", "north > 1002 200 INVITE"},
			{"1002 > north BYE", "north > south BYE"},
			{"north > south BYE", "south > " + callee + " BYE"},
		},
		prepare: func(t *testing.T, x *three) {
			at(t, x, callee, "south")
			bob = at(t, x, "1002", "north")
		},
		play: func(t *testing.T, x *three) {
			call, err := bob.Call(within(t, 10*time.Second), "sip:"+callee+"@"+officeNames[callee[0]-'1']+".example")
			if err != nil {
				t.Fatal(err)
			}
			if err := call.Hangup(within(t, 10*time.Second)); err != nil {
				t.Fatal(err)
			}
		}}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, stop := context.WithTimeout(t.Context(), d)
	t.Cleanup(stop)
	return ctx
}

// flows is every file of testdata/flows.
func flows() []flow {
	return []flow{
		moves("home_to_visited", "north", "south",
			"1001 of north, who was at home, registers at south (METHOD 2.1, steps 100-190).",
			[2]string{"north > south 401 REGISTER", "south > 1001 401 REGISTER"},
			[2]string{"south > north REGISTER sip:north.example Contact", "south > 1001 200 REGISTER"},
			[2]string{"north > south 200 REGISTER Expires", "south > 1001 200 REGISTER"}),
		moves("visited_to_home", "south", "north",
			"1001 of north, who was at south, registers at home again (METHOD 2.2, steps 200-260).",
			[2]string{"1001 > north REGISTER sip:north.example Contact Expires=300 Authorization", "north > south NOTIFY"}),
		moves("visited_to_visited", "south", "west",
			"1001 of north, who was at south, registers at west (METHOD 2.3, steps 300-500).",
			[2]string{"north > west 401 REGISTER", "west > 1001 401 REGISTER"},
			[2]string{"north > west 200 REGISTER Roam-Ticket", "west > north REGISTER sip:north.example Contact"},
			[2]string{"north > west 200 REGISTER Expires", "west > 1001 200 REGISTER"}),
		calls("call_to_visited", "1002 at north calls 1001 of north, who is at south, and hangs up.", "1001"),
		calls("call_between_offices", "1002 at north calls 2001 of south, who is at home, and hangs up.", "2001"),
		{name: "refused_login", story: "Somebody at south says to be 1001 of north and does not know the password.",
			prepare: func(*testing.T, *three) {},
			inOrder: [][2]string{{"north > south 401 REGISTER", "south > 1001 401 REGISTER"}},
			play: func(t *testing.T, x *three) {
				_, err := x.plug(x.phone("1001", "south", phone.Config{Password: "wrong"}))
				var no *phone.Refused
				if !errors.As(err, &no) || no.Code != 401 {
					t.Errorf("got %v, want 401", err)
				}
			}},
	}
}

// TestFlows plays every flow with three offices and compares what goes over the wire with testdata/flows, message
// by message. The file has the order in which the messages were once seen; what must be the same again is the order between
// each two parties, and what inOrder says, since nothing orders messages of parties that do not wait for each other.
func TestFlows(t *testing.T) {
	for _, f := range flows() {
		t.Run(f.name, func(t *testing.T) {
			x := startThree(t, nil)
			l := x.listen()
			f.prepare(t, x)
			l.settled()
			l.clear()
			f.play(t, x)
			got := l.settled()
			for _, rule := range f.inOrder {
				first, then := indexOf(got, rule[0]), indexOf(got, rule[1])
				if first < 0 || then < 0 || first > then {
					t.Errorf("got %q as message %d and %q as %d, want both, in this order", rule[0], first, rule[1], then)
				}
			}
			path := filepath.Join("..", "testdata", "flows", f.name+".txt")
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.WriteFile(path, []byte(written(f, got)), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want := read(t, path)
			for _, pair := range pairs(slices.Concat(got, want)) {
				compare(t, pair, between(got, pair), between(want, pair))
			}
			if t.Failed() {
				t.Logf("the whole ladder:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// squeezed has one blank where lines have several.
func squeezed(line string) string { return strings.Join(strings.Fields(line), " ") }

// indexOf is the last of lines that begins with start, -1 for none.
func indexOf(lines []string, start string) int {
	for i, l := range slices.Backward(lines) {
		if strings.HasPrefix(squeezed(l), start) {
			return i
		}
	}
	return -1
}

// written is a file of testdata/flows.
func written(f flow, lines []string) string {
	return "# " + f.story + "\n# from > to, the message, and of its header fields those that this is about.\n\n" + strings.Join(lines, "\n") + "\n"
}

// read is the lines of a file of testdata/flows.
func read(t *testing.T, path string) (all []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
}

// pairOf is who the message of line is between, in alphabetical order.
func pairOf(line string) string {
	w := strings.Fields(line)
	return min(w[0], w[2]) + " and " + max(w[0], w[2])
}

// pairs is all pairs in lines.
func pairs(lines []string) (all []string) {
	for _, l := range lines {
		all = append(all, pairOf(l))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// between is the lines of one pair.
func between(lines []string, pair string) (some []string) {
	for _, l := range lines {
		if pairOf(l) == pair {
			some = append(some, squeezed(l))
		}
	}
	return some
}

func compare(t *testing.T, pair string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("between %s, message %d:\n got %s\nwant %s", pair, i+1, g, w)
			return
		}
	}
}
