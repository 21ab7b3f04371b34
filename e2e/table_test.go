//go:build endpoints

package e2e

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// flow is a move of the user, whose home is north.
type flow struct{ name, from, to string }

var flows = []flow{{"HV", "north", "south"}, {"VH", "south", "north"}, {"VV", "south", "west"}}

// third is the office that the user neither leaves nor comes to.
func (f flow) third() string {
	for o := range labOrder {
		if o != f.from && o != f.to {
			return o
		}
	}
	return ""
}

const (
	home  = "north"
	mover = "1001"
)

// mark is the message that shows that a step is reached, as an office's trace has it.
type mark struct {
	at      string // the office whose trace it is
	sent    bool   // by the office
	partner bool   // to or from another office, else a phone
	method  string
	status  int    // 0: the request
	has     string // what stands in it
}

// step is one of the eleven steps of a move.
type step struct {
	letter string
	what   string
	mark   func(flow) mark // nil: the test itself takes the step
	hit    func(flow) string
}

func toIs(f flow) string  { return f.to }
func homeIs(flow) string  { return home }
func byPhone(f flow) bool { return f.to == home } // nothing is forwarded: the phone is at home

// leftIs is whom the move is told to: the office left, or home where that is the one.
func leftIs(f flow) string { return f.from }

const (
	register = "REGISTER"
	where    = "application/vnd.siproam.location+json"
)

// steps are named as research and METHOD have them. There is no DHCP server yet, so a is the plugging in with a preset address.
var steps = []step{
	{"a", "the phone is plugged in", nil, toIs},
	{"b", "REGISTER at the edge", func(f flow) mark { return mark{at: f.to, method: register} }, toIs},
	{"c", "forwarded to home", func(f flow) mark { return mark{at: home, partner: !byPhone(f), method: register} }, homeIs},
	{"d", "401", func(f flow) mark {
		return mark{at: home, sent: true, partner: !byPhone(f), method: register, status: 401}
	}, homeIs},
	{"e", "the second REGISTER", func(f flow) mark { return mark{at: f.to, method: register, has: "\r\nAuthorization:"} }, toIs},
	{"f", "home writes", func(f flow) mark {
		if byPhone(f) {
			return mark{at: home, method: register, has: "\r\nAuthorization:"}
		}
		return mark{at: home, partner: true, method: register, has: "\r\nContact:"}
	}, homeIs},
	{"g", "the office left is told", func(f flow) mark {
		if f.from == home {
			return mark{at: home, sent: true, partner: true, method: register, status: 200, has: where}
		}
		return mark{at: f.to, sent: true, partner: true, method: "NOTIFY"}
	}, leftIs},
	{"h", "200 to the phone", func(f flow) mark { return mark{at: f.to, sent: true, method: register, status: 200} }, toIs},
	{"i", "the visited office stores it", func(f flow) mark {
		if byPhone(f) {
			return mark{at: home, sent: true, method: register, status: 200}
		}
		return mark{at: f.to, partner: true, method: register, status: 200, has: where}
	}, toIs},
	{"j", "a call", func(f flow) mark { return mark{at: f.to, partner: true, method: "INVITE"} }, homeIs},
	{"k", "its record goes home", func(f flow) mark { return mark{at: f.bills(), partner: true, method: "BYE"} }, homeIs},
}

// bills is the visited office whose record of a call is on its way home at step k: of a user who has come home, that of
// the call in which he left.
func (f flow) bills() string {
	if f.to == home {
		return f.from
	}
	return f.to
}

// pair is two hosts between which the router drops everything.
type pair [2]string

// cut is the links that a partition takes away.
func (s step) cut(f flow) []pair {
	switch {
	case s.letter == "a" || s.letter == "b" || s.letter == "e": // the whole office
		cut := []pair{{f.to, "redis"}}
		for o := range labOrder {
			if o != f.to {
				cut = append(cut, pair{f.to, o})
			}
		}
		return cut
	case s.letter == "k":
		return []pair{{f.bills(), home}, {f.bills(), "redis"}}
	case s.letter == "g" && f.name == "VV":
		return []pair{{f.from, f.to}, {f.from, home}}
	case f.to == home:
		return []pair{{home, f.from}}
	}
	return []pair{{home, f.to}}
}

// lossy is the office whose WAN, and whose cable to the device, is bad.
func (s step) lossy(f flow) string {
	switch s.letter {
	case "g":
		return f.from
	case "k":
		return f.bills()
	}
	return f.to
}

// tag names a cell: HV-c-killed.
type tag struct {
	flow  flow
	step  step
	fault fault
}

func (c tag) String() string { return c.flow.name + "-" + c.step.letter + "-" + c.fault.name }

// allCells is the whole table.
func allCells() (all []tag) {
	for _, f := range flows {
		for _, s := range steps {
			for _, x := range faults {
				all = append(all, tag{f, s, x})
			}
		}
	}
	return all
}

// sample is n cells in which every flow, step and fault has its turn.
func sample(n int, dice *rand.Rand) (some []tag) {
	all := allCells()
	used := map[string]int{}
	for len(some) < n {
		dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		best := slices.MinFunc(all, func(a, b tag) int { return a.weight(used) - b.weight(used) })
		some = append(some, best)
		for _, word := range best.words() {
			used[word]++
		}
		all = slices.DeleteFunc(all, func(c tag) bool { return c.String() == best.String() })
	}
	return some
}

func (c tag) words() []string { return []string{c.flow.name, c.step.letter, c.fault.name} }

func (c tag) weight(used map[string]int) (sum int) {
	for _, word := range c.words() {
		sum += used[word] * used[word]
	}
	return sum
}

// number is an environment variable, or otherwise.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// seed is SIPROAM_TABLE_SEED, else one of the day and the commit.
func seed() uint64 {
	if n := number("SIPROAM_TABLE_SEED", 0); n > 0 {
		return uint64(n)
	}
	commit, _ := exec.Command("git", "rev-parse", "HEAD").Output() // none: the day alone
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %s", time.Now().Format(time.DateOnly), commit)
	return uint64(h.Sum32())
}

// chosen is the cells that SIPROAM_TABLE asks for: "all", names of cells ("HV-c-killed VV-g"), or a sample.
func chosen(dice *rand.Rand) []tag {
	asked := os.Getenv("SIPROAM_TABLE")
	if asked == "" {
		return sample(12, dice)
	}
	var some []tag
	for _, c := range allCells() {
		if asked == "all" || slices.ContainsFunc(strings.Fields(asked), func(word string) bool {
			return strings.HasPrefix(c.String()+"-", word+"-")
		}) {
			some = append(some, c)
		}
	}
	return some
}

// TestFaultTable moves a user's phone while, exactly at a step of the move, a process or a link fails, and looks whether an
// invariant broke. make soak plays the whole table, make test a sample; both print the seed.
func TestFaultTable(t *testing.T) {
	from := seed()
	cells := chosen(rand.New(rand.NewPCG(from, 0)))
	runs := number("SIPROAM_TABLE_RUNS", 1)
	t.Logf("%d cells, SIPROAM_TABLE_SEED=%d", len(cells), from)
	plan, binary := draw(t), build(t)
	queue := make(chan *cell)
	var mu sync.Mutex // guards done
	done := map[string][]*cell{}
	var workers sync.WaitGroup
	for i := range min(number("SIPROAM_TABLE_AT_ONCE", 12), len(cells)*runs) {
		s, err := newSite(fmt.Sprintf("s%d", i))
		if err != nil {
			t.Fatal(err)
		}
		workers.Go(func() {
			for c := range queue {
				c.play(plan, s, binary)
				mu.Lock()
				done[c.String()] = append(done[c.String()], c)
				mu.Unlock()
				for _, b := range c.broken {
					t.Errorf("%s: %s", c, b)
				}
			}
		})
	}
	for n := range runs {
		for _, which := range cells {
			queue <- &cell{tag: which, dice: rand.New(rand.NewPCG(from, uint64(n)<<32|uint64(which.index())))}
		}
	}
	close(queue)
	workers.Wait()
	t.Logf("\n%s", printed(cells, done))
}

// index is where a cell stands in the table.
func (c tag) index() int {
	return slices.IndexFunc(allCells(), func(o tag) bool { return o.String() == c.String() })
}

// printed is the table: for each step a line, for each fault a column, in it what broke, or for how long the offices
// did not agree after the phone had been plugged in: the longest of the runs.
func printed(cells []tag, done map[string][]*cell) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s", "")
	for _, x := range faults {
		fmt.Fprintf(&b, "%-14s", x.name)
	}
	for _, f := range flows {
		for _, s := range steps {
			line, any := fmt.Sprintf("\n%s %s %-29s", f.name, s.letter, s.what), false
			for _, x := range faults {
				runs := done[tag{f, s, x}.String()]
				line += fmt.Sprintf("%-14s", verdict(runs))
				any = any || len(runs) > 0
			}
			if any {
				b.WriteString(strings.TrimRight(line, " "))
			}
		}
	}
	tried := map[string]int{}
	for _, runs := range done {
		for _, c := range runs {
			tried[c.tried]++
		}
	}
	b.WriteString("\ncalls while it lasted:")
	for _, what := range slices.Sorted(maps.Keys(tried)) {
		fmt.Fprintf(&b, " %d %s;", tried[what], what)
	}
	return b.String()
}

// verdict is what stands in a cell.
func verdict(runs []*cell) string {
	if len(runs) == 0 {
		return "."
	}
	var broken []string
	var longest time.Duration
	for _, c := range runs {
		for _, b := range c.broken {
			if !slices.Contains(broken, b.invariant) {
				broken = append(broken, b.invariant)
			}
		}
		longest = max(longest, c.settled)
	}
	if len(broken) > 0 {
		return strings.Join(broken, " ")
	}
	return fmt.Sprintf("ok %.1f s", longest.Seconds())
}
