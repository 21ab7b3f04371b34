package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
)

var (
	south = &roam.Numbers{
		Country: "1", International: "011", National: "1",
		Extensions:   map[string]string{"2xxx": "+15550002xxx", "29xx": "", "70": "+15550007000"},
		Emergency:    []string{"911", "112"},
		OtherOffices: map[string]roam.OfficeID{"1xxx": "north", "3xxx": "west"},
	}
	berlin = &roam.Numbers{
		Country: "49", International: "00", National: "0",
		Extensions: map[string]string{"2xx": "+493055502xx"},
		Emergency:  []string{"110", "112"},
	}
)

func TestRead(t *testing.T) {
	number := func(user, short string) Dialled { return Dialled{User: user, Global: true, Short: short} }
	for _, c := range []struct {
		user, host string
		ours       bool
		plan       *roam.Numbers
		want       Dialled
		err        error
	}{
		// extensions
		{"2001", "south.example", true, south, number("+15550002001", "2001"), nil},
		{"2 0-0.1", "south.example", true, south, number("+15550002001", "2001"), nil},
		{"(20)01", "south.example", true, south, number("+15550002001", "2001"), nil},
		{"tel:2001", "south.example", true, south, number("+15550002001", "2001"), nil},
		{"2001;phone-context=south.example", "", true, south, number("+15550002001", "2001"), nil},
		{"2901", "south.example", true, south, Dialled{User: "2901"}, nil}, // more literal digits win; no public number
		{"70", "south.example", true, south, number("+15550007000", "70"), nil},
		{"20", "south.example", true, south, Dialled{User: "20"}, roam.Incomplete},
		{"200", "south.example", true, south, Dialled{User: "200"}, roam.Incomplete},
		{"5001", "south.example", true, south, Dialled{User: "5001"}, nil}, // nobody's pattern: the directory decides
		{"2001", "south.example", true, nil, Dialled{User: "2001"}, nil},
		{"2001", "south.example", true, &roam.Numbers{}, Dialled{User: "2001"}, nil},
		{"20012", "south.example", true, south, Dialled{User: "20012"}, nil},
		// other offices
		{"1001", "south.example", true, south, Dialled{User: "1001", Office: "north"}, nil},
		{"3-001", "south.example", true, south, Dialled{User: "3001", Office: "west"}, nil},
		{"100", "south.example", true, south, Dialled{User: "100"}, roam.Incomplete},
		{"1001", "north.example", false, south, Dialled{User: "1001", Host: "north.example"}, nil},
		// global
		{"+15550001001", "south.example", true, south, number("+15550001001", ""), nil},
		{"+1 (555) 000-1001", "south.example", true, south, number("+15550001001", ""), nil},
		{"+1.555.000.1001", "", true, south, number("+15550001001", ""), nil},
		{"+15550002001", "", true, south, number("+15550002001", "2001"), nil},
		{"+1 555 000 1001", "north.example", false, south, Dialled{User: "+15550001001", Host: "north.example", Global: true}, nil},
		{"+44 (0)20 7946 0018", "", true, south, number("+442079460018", ""), nil},
		{"+1555000100", "", true, south, number("+1555000100", ""), roam.Incomplete},
		{"+155500020", "", true, south, number("+155500020", ""), roam.Incomplete},
		{"+155500010011", "", true, south, number("+155500010011", ""), roam.NoRoute},
		{"+4930", "", true, south, number("+4930", ""), roam.Incomplete},
		{"+", "", true, south, number("+", ""), roam.Incomplete},
		{"+0123456789", "", true, south, number("+0123456789", ""), roam.NoRoute},
		{"+4912345678901234", "", true, south, number("+4912345678901234", ""), roam.NoRoute},
		{"+49301234*5", "", true, south, number("+49301234*5", ""), roam.NoRoute},
		// international
		{"01115550001001", "", true, south, number("+15550001001", ""), nil},
		{"011 44 20 7946 0018", "", true, south, number("+442079460018", ""), nil},
		{"011", "", true, south, Dialled{User: "011"}, roam.Incomplete},
		{"01", "", true, south, Dialled{User: "01"}, roam.Incomplete},
		{"0015550001001", "", true, berlin, number("+15550001001", ""), nil},
		{"0049305550123", "", true, berlin, number("+49305550123", ""), nil},
		// national
		{"15550001001", "", true, south, number("+15550001001", ""), nil},
		{"1-555-000-1001", "", true, south, number("+15550001001", ""), nil},
		{"155500010", "", true, south, Dialled{User: "155500010"}, roam.Incomplete},
		{"(555) 000-1001", "", true, south, number("+15550001001", ""), nil}, // ten digits
		{"555 000 2001", "", true, south, number("+15550002001", "2001"), nil},
		{"030 555 0123", "", true, berlin, number("+49305550123", ""), nil},
		{"0", "", true, berlin, Dialled{User: "0"}, roam.Incomplete},
		{"1001", "", true, &roam.Numbers{Country: "1", National: "1"}, Dialled{User: "1001"}, roam.Incomplete},
		{"0305551", "", true, &roam.Numbers{National: "0"}, Dialled{User: "0305551"}, nil}, // no country, no national form
		// emergency
		{"911", "south.example", true, south, Dialled{User: "911", Emergency: true}, nil},
		{"9-1-1", "south.example", true, south, Dialled{User: "911", Emergency: true}, nil},
		{"112", "north.example", false, south, Dialled{User: "112", Emergency: true}, nil},
		{"91", "south.example", true, south, Dialled{User: "91"}, roam.Incomplete},
		// names and codes
		{"alice", "south.example", true, south, Dialled{User: "alice"}, nil},
		{"alice.b", "south.example", true, south, Dialled{User: "alice.b"}, nil},
		{"a1001", "south.example", true, south, Dialled{User: "a1001"}, nil},
		{"alice", "north.example", false, south, Dialled{User: "alice", Host: "north.example"}, nil},
		{"*97", "south.example", true, south, Dialled{User: "*97"}, nil},
		{"", "south.example", true, south, Dialled{Host: "south.example"}, roam.Incomplete},
		{"1+2", "south.example", true, south, Dialled{User: "1+2"}, nil},
	} {
		got, err := Read(c.user, c.host, c.ours, c.plan)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("Read(%q, %q, %v): got %+v, %v, want %+v, %v", c.user, c.host, c.ours, got, err, c.want, c.err)
		}
	}
}

// Of the patterns that fit, the one with most literal digits counts, in whatever order a map gives them.
func TestTheMoreLiteralPatternWins(t *testing.T) {
	n := &roam.Numbers{Extensions: map[string]string{"2xxx": "+15550002xxx", "29xx": "", "299x": "+1555000777x"}, OtherOffices: map[string]roam.OfficeID{"28xx": "west"}}
	for range 50 {
		for user, want := range map[string]Dialled{
			"2001": {User: "+15550002001", Global: true, Short: "2001"}, "2901": {User: "2901"},
			"2991": {User: "+15550007771", Global: true, Short: "2991"}, "2801": {User: "2801", Office: "west"},
		} {
			if got, err := Read(user, "", true, n); got != want || err != nil {
				t.Fatalf("Read(%s): got %+v, %v, want %+v", user, got, err, want)
			}
		}
	}
}

// A visitor's plan reads his short numbers; the emergency numbers of the place count as well.
func TestEmergencyOfThePlace(t *testing.T) {
	for _, c := range []struct {
		user  string
		plans []*roam.Numbers
		want  bool
	}{
		{"911", []*roam.Numbers{berlin, south}, true},
		{"110", []*roam.Numbers{berlin, south}, true},
		{"110", []*roam.Numbers{south}, false},
		{"911", []*roam.Numbers{nil}, false},
		{"9111", []*roam.Numbers{south}, false},
		{"sos", []*roam.Numbers{south}, false},
	} {
		if got := Emergency(c.user, c.plans...); got != c.want {
			t.Errorf("Emergency(%q): got %v, want %v", c.user, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	good := []*roam.Numbers{nil, {}, south, berlin}
	for _, n := range good {
		if err := Validate(n); err != nil {
			t.Errorf("Validate(%+v): got %v, want nil", n, err)
		}
	}
	for _, c := range []struct {
		n    roam.Numbers
		want string
	}{
		{roam.Numbers{Country: "0049"}, "country"},
		{roam.Numbers{Country: "+1"}, "country"},
		{roam.Numbers{International: "0 11"}, "international"},
		{roam.Numbers{National: "0"}, "needs country"},
		{roam.Numbers{Country: "1", National: "n"}, "national"},
		{roam.Numbers{Country: "1", National: "0", International: "0"}, "both"},
		{roam.Numbers{Extensions: map[string]string{"": ""}}, "empty"},
		{roam.Numbers{Extensions: map[string]string{"xxx": ""}}, "begins with x"},
		{roam.Numbers{Extensions: map[string]string{"2x1": ""}}, "digits and then x"},
		{roam.Numbers{Extensions: map[string]string{"2xxx": "15550002xxx"}}, "public number"},
		{roam.Numbers{Extensions: map[string]string{"2xxx": "+15550002xx"}}, "public number"},
		{roam.Numbers{Extensions: map[string]string{"2xxx": "+1555x002xxx"}}, "public number"},
		{roam.Numbers{Extensions: map[string]string{"2xxx": ""}, OtherOffices: map[string]roam.OfficeID{"2xxx": "north"}}, "stands under"},
		{roam.Numbers{OtherOffices: map[string]roam.OfficeID{"1-xx": "north"}}, "other_offices"},
		{roam.Numbers{OtherOffices: map[string]roam.OfficeID{"1xxx": ""}}, "no office"},
		{roam.Numbers{Emergency: []string{"9-1-1"}}, "emergency"},
		{roam.Numbers{Emergency: []string{""}}, "emergency"},
		{roam.Numbers{Emergency: []string{"911"}, Extensions: map[string]string{"9xx": ""}}, "nobody could dial"},
	} {
		if err := Validate(&c.n); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Validate(%+v): got %v, want …%s…", c.n, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"2001", "+1 (555) 000-1001", "011", "alice", "tel:112", "+44 (0)20 7946 0018"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, user string) {
		d, err := Read(user, "south.example", true, south)
		if d.Global && err == nil {
			again, err := Read(d.User, "", true, south)
			if err != nil || again.User != d.User {
				t.Errorf("Read(%q) gives %q, and that gives %q, %v", user, d.User, again.User, err)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Read("1 (555) 000-2001", "south.example", true, south)
	}
}
