package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
)

// place is a configuration with one field of every kind.
type place struct {
	Office  roam.OfficeID            `yaml:"office"`
	Country string                   `yaml:"country"`
	Port    int                      `yaml:"port"`
	On      bool                     `yaml:"on"`
	Wait    roam.Duration            `yaml:"wait"`
	Addr    netip.Addr               `yaml:"addr"`
	Short   map[string]roam.OfficeID `yaml:"short"`
	Deny    []string                 `yaml:"deny"`
	Inner   struct {
		Deep string `yaml:"deep"`
		Wait roam.Duration
	} `yaml:"inner"`
	Maybe  *roam.SilencePolicy `yaml:"maybe"`
	Either words               `yaml:"either"`
	Shared `yaml:",inline"`
	Secret string `yaml:"-"`

	check func(*place) error
}

// Shared is what several parts of a file say in the same words.
type Shared struct {
	Zone string `yaml:"zone"`
}

// words is one word or a list of them.
type words []string

func (w *words) UnmarshalYAML(read func(any) error) error {
	var one string
	if read(&one) == nil {
		*w = words{one}
		return nil
	}
	return read((*[]string)(w))
}

func (p *place) Validate() error {
	if p.check != nil {
		return p.check(p)
	}
	return nil
}

func (p *place) Later() []string { return []string{"$.trunks", "$.inner.fancy"} }

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "place.yaml")
	src := `# a comment
office: south
country: "1"
port: 5060
on: true
wait: 1h30m
addr: 203.0.113.20
short: {"1xxx": north, 3xxx: west}
deny:
  - "2009"
  - '2010'
inner:
  deep: sip:sip.south.example:5067;transport=tls
  wait: 5s
maybe: {policy: refuse}
either: none
zone: UTC
`
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	got := place{Secret: "kept"}
	if err := Read(file, &got); err != nil {
		t.Fatal(err)
	}
	want := place{
		Office: "south", Country: "1", Port: 5060, On: true, Wait: roam.Duration(90 * 60e9), Addr: netip.MustParseAddr("203.0.113.20"),
		Short: map[string]roam.OfficeID{"1xxx": "north", "3xxx": "west"}, Deny: []string{"2009", "2010"},
		Maybe: &roam.SilencePolicy{Policy: "refuse"}, Either: words{"none"}, Shared: Shared{"UTC"}, Secret: "kept",
	}
	want.Inner.Deep, want.Inner.Wait = "sip:sip.south.example:5067;transport=tls", roam.Duration(5e9)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := Read(filepath.Join(t.TempDir(), "none.yaml"), &got); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v, want %v", err, os.ErrNotExist)
	}
}

// TestDefaults: what the file leaves out stays what it was.
func TestDefaults(t *testing.T) {
	for _, src := range []string{"", "# nothing\n", "---\n", "office: west\n", "inner:\n#  deep: x\noffice: west\n"} {
		p := place{Office: "west", Port: 7}
		p.Inner.Deep = "kept"
		if err := Parse("f", []byte(src), &p); err != nil || p.Office != "west" || p.Port != 7 || p.Inner.Deep != "kept" {
			t.Errorf("%q: got %v %+v, want the defaults", src, err, p)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"unquoted number", "country: 1", `f:1:10: country: a number without quotes; quote every telephone number and code: "1"`},
		{"octal", "country: 0100", `f:1:10: country: a number without quotes; quote every telephone number and code: "0100"`},
		{"plus", "country: +49", `f:1:10: country: a number without quotes; quote every telephone number and code: "+49"`},
		{"in a list", "deny: [\"1\", 2009]", `f:1:13: deny[1]: a number without quotes; quote every telephone number and code: "2009"`},
		{"as a key", "short: {1000: north}", `f:1:9: short.1000: a number without quotes; quote every telephone number and code: "1000"`},
		{"unknown key", "offce: x", `f:1:1: offce: unknown key; did you mean "office"?`},
		{"unknown inner key", "inner:\n  zzzzzz: x", `f:2:3: inner.zzzzzz: unknown key; known here: deep, wait`},
		{"secret", "secret: x", `f:1:1: secret: unknown key; known here: addr, country, deny, either, inner, maybe, office, on, port, short, wait, zone`},
		{"later", "trunks:\n  - a", `f:1:1: trunks: not in this version`},
		{"later, inner", "inner: {fancy: 1}", `f:1:9: inner.fancy: not in this version`},
		{"duplicate", "office: a\nport: 1\noffice: b", `f:3:1: office: given twice, first in line 1`},
		{"second document", "office: a\n---\noffice: b", `f:3:1: a second document; the file is one`},
		{"duration without unit", "wait: 60", `f:1:7: wait: time: missing unit in duration "60"`},
		{"duration in words", "inner: {wait: soon}", `f:1:15: inner.wait: time: invalid duration "soon"`},
		{"address", "addr: 300.1.2.3", `f:1:7: addr: ParseAddr("300.1.2.3"): IPv4 field has value >255`},
		{"text for number", "port: many", `f:1:7: port: want a whole number, got text`},
		{"number too large", "port: 99999999999999999999999", `f:1:7: port: want a whole number, got text`},
		{"list for text", "office: [a]", `f:1:9: office: want text, got a list`},
		{"text for list", "deny: x", `f:1:7: deny: want a list, got text`},
		{"text for mapping", "inner: x", `f:1:8: inner: want keys and values here, got text`},
		{"nothing for text", "office:", `f:1:1: office: want text, got nothing`},
		{"bool as word", "on: yes", `f:1:5: on: want true or false, got text`},
		{"neither", "either: {a: b}", `f:1:9: either: want a list, got keys and values`},
		{"alias of nothing", "office: *x", `f:1:9: office: want text, got an alias of nothing`},
		{"merge key", "inner: {<<: {deep: x}}", `f:1:9: inner.<<: a key must be plain text`},
		{"not YAML", "office: \"a", `f:1:9: not YAML: could not find end character of double-quoted text`},
		{"indentation", "inner:\n  deep: a\n wait: b", `f:3:2: not YAML: value is not allowed in this context`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Parse("f", []byte(c.src), &place{})
			if err == nil {
				t.Fatalf("got no error, want %s", c.want)
			}
			got, _, _ := strings.Cut(err.Error(), "\n")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestAllAtOnce: every mistake is said, in order, each with its line and a caret below it; what
// Validate says of a place that is wrong already is left out.
func TestAllAtOnce(t *testing.T) {
	p := place{check: func(*place) error {
		return errors.Join(
			&At{"$.office", errors.New("missing")},
			errors.Join(&At{"$.inner.deep", errors.New("too deep")}, &At{"$.country", errors.New("never said")}),
			&At{"$.deny[0]", errors.New("nobody")},
			&At{"$", errors.New("never said, since something in it is wrong")},
			&At{"$.maybe.policy", errors.New("not given")},
			fmt.Errorf("in all"))
	}}
	src := "country: 1\ninner:\n  deep: a\ndeny: [\"4\"]\nmabye: {}\n"
	err := Parse("office.yaml", []byte(src), &p)
	want := `office.yaml: office: missing
office.yaml: maybe.policy: not given
office.yaml: in all
office.yaml:1:10: country: a number without quotes; quote every telephone number and code: "1"
    1 | country: 1
      |          ^
office.yaml:3:9: inner.deep: too deep
    3 |   deep: a
      |         ^
office.yaml:4:8: deny[0]: nobody
    4 | deny: ["4"]
      |        ^
office.yaml:5:1: mabye: unknown key; did you mean "maybe"?
    5 | mabye: {}
      | ^`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var m *Mistake
	if !errors.As(err, &m) {
		t.Errorf("got %T, want a *Mistake in it", err)
	}
}

// TestAnchors: an alias means what its anchor holds.
func TestAnchors(t *testing.T) {
	var p place
	if err := Parse("f", []byte("office: &here west\ncountry: *here\ninner: {deep: !!str 49}\n"), &p); err != nil {
		t.Fatal(err)
	}
	if p.Office != "west" || p.Country != "west" || p.Inner.Deep != "49" {
		t.Errorf("got %q %q %q, want west west 49", p.Office, p.Country, p.Inner.Deep)
	}
}

// TestFormat: what Format writes reads back the same.
func TestFormat(t *testing.T) {
	p := place{Office: "south", Country: "0100", Shared: Shared{"UTC"}, Wait: roam.Duration(90e9), Short: map[string]roam.OfficeID{"1000": "north"}, Deny: []string{"+49"}, Addr: netip.MustParseAddr("192.0.2.1")}
	text, err := Format(p)
	if err != nil {
		t.Fatal(err)
	}
	var back place
	if err := Parse("f", text, &back); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
	if back.Country != p.Country || back.Wait != p.Wait || back.Short["1000"] != "north" || back.Deny[0] != "+49" {
		t.Errorf("got %+v, want %+v\n%s", back, p, text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("office: a\nshort: {\"1\": b}\n")
	f.Add("&a [*a]")
	f.Add("either: &x [*x]")
	f.Fuzz(func(t *testing.T, src string) {
		err := Parse("f", []byte(src), &place{})
		for _, one := range Flatten(err) {
			if m, ok := one.(*Mistake); !ok || m.Text == "" {
				t.Errorf("got %#v, want a *Mistake that says something", one)
			}
		}
	})
}
