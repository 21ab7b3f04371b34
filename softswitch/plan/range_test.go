package plan

import (
	"slices"
	"testing"

	"github.com/siproam/siproam/roam"
)

func TestRanges(t *testing.T) {
	n := &roam.Numbers{Extensions: map[string]string{"2xxx": "+15550002xxx", "29xx": "", "70": "+15550007000"}}
	if got := Ranges(n); !slices.Equal(got, []string{"+15550002xxx", "+15550007000"}) {
		t.Errorf("of extensions: got %q", got)
	}
	n.Ranges = []string{"+1555001xxxx", "+15550002xxx"}
	if got := Ranges(n); !slices.Equal(got, []string{"+15550002xxx", "+1555001xxxx"}) {
		t.Errorf("named: got %q", got)
	}
	if got := Ranges(&roam.Numbers{}); len(got) > 0 {
		t.Errorf("none: got %q", got)
	}
}

func TestOwner(t *testing.T) {
	ranges := map[roam.OfficeID][]string{"north": {"+15550001xxx", "+1555xxxxxxx"}, "south": {"+15550002xxx", "+155500019xx"}, "west": {"+15550003xxx", "+155500019xx", "+15550002000"}}
	for number, want := range map[string]struct {
		owner roam.OfficeID
		clash []roam.OfficeID
	}{
		"+15550001001":  {owner: "north"},
		"+15550002001":  {owner: "south"},
		"+15550002000":  {owner: "west"},  // the more exact one
		"+15557654321":  {owner: "north"}, // the less exact one, where no other is
		"+15550001901":  {clash: []roam.OfficeID{"south", "west"}},
		"+1555000100":   {},
		"+155500010011": {},
		"+4930123456":   {},
		"1001":          {},
		"":              {},
	} {
		for range 20 { // in whatever order a map gives them
			if owner, clash := Owner(number, ranges); owner != want.owner || !slices.Equal(clash, want.clash) {
				t.Fatalf("%s: got %q %q, want %+v", number, owner, clash, want)
			}
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"+15550001xxx", "+15550001xxx", true}, {"+15550001xxx", "+155500019xx", false}, {"+15550001xxx", "+15550002xxx", false},
		{"+15550001xxx", "+15550001xx", false}, {"+15550001001", "+15550001001", true},
	} {
		if got := Overlap(c.a, c.b); got != c.want || Overlap(c.b, c.a) != got {
			t.Errorf("%s and %s: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
