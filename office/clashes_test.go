package office

import (
	"slices"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
)

// TestClashes: two offices that would both be asked for a number are named; a range inside another is none.
func TestClashes(t *testing.T) {
	cfg := func(o roam.OfficeID, n roam.Numbers) Config { return Config{Office: o, Numbers: n} }
	all := []Config{
		cfg("north", roam.Numbers{Extensions: map[string]string{"1xxx": "+15550001xxx", "8xxx": ""}}),
		cfg("south", roam.Numbers{Extensions: map[string]string{"8xxx": ""}, Ranges: []string{"+15550002xxx", "+155500019xx"}}),
		cfg("west", roam.Numbers{Ranges: []string{"+15550002xxx"}}),
	}
	if got := Clashes(all); !slices.Equal(got, []string{"numbers.ranges: +15550002xxx is a range of south and of west"}) {
		t.Errorf("got %q", got)
	}
	if got := Clashes(all[:2]); len(got) > 0 {
		t.Errorf("without west: got %q", got)
	}
	one := cfg("south", roam.Numbers{Extensions: map[string]string{"2xxx": "+15550002xxx"}, Ranges: []string{"+15550003xxx"}})
	if got := strings.Join(one.Doubts(), "\n"); !strings.Contains(got, "numbers.ranges: +15550002xxx of extensions 2xxx is none of them") {
		t.Errorf("doubts: got %q", got)
	}
}
