package digest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
)

var now = time.UnixMilli(1_800_000_000_000)

const (
	login    = "1001"
	realm    = "north.example"
	password = "secret"
	uri      = "sip:north.example"
)

// challenges is the values of Challenge.
func (g *Guard) challenges(now time.Time, realm, visited string, a Algorithms, stale bool) (values []string) {
	for _, f := range g.Challenge(now, realm, Place{Visited: visited}, a, stale, false) {
		values = append(values, f.Value)
	}
	return values
}

func guard() *Guard { return &Guard{Key: seal.NewStamps()} }

// answer is what a phone makes of a challenge.
func answer(t testing.TB, challenge, password, method string, nc uint32) *Credentials {
	t.Helper()
	asked := parse(t, challenge+`, username="`+login+`", uri="`+uri+`", response="-", cnonce="c0ffee", nc=`+fmt.Sprintf("%08x", nc))
	n := index(asked.Algorithm)
	asked.Response = respond(n, asked, method, MakeHA1(login, realm, password)[n])
	return parse(t, print(asked))
}

// respond computes a response the long way.
func respond(n int, c *Credentials, method string, ha1 []byte) string {
	h := func(s string) string {
		var to [32]byte
		return fmt.Sprintf("%x", hash(n, &to, []byte(s)))
	}
	return h(fmt.Sprintf("%x:%s:%s:%s:%s:%s", ha1, c.Nonce, c.count(), c.CNonce, c.QOP, h(method+":"+c.URI)))
}

// print is c as a phone writes it.
func print(c *Credentials) string {
	s := fmt.Sprintf("Digest username=%s, realm=%s, nonce=%s, uri=%s, response=%s", sip.Quote(c.Username), sip.Quote(c.Realm),
		sip.Quote(c.Nonce), sip.Quote(c.URI), sip.Quote(c.Response))
	for name, v := range map[string]string{"algorithm": c.Algorithm, "cnonce": c.CNonce, "opaque": c.Opaque, "qop": c.QOP} {
		if v != "" {
			s += ", " + name + "=" + sip.Quote(v)
		}
	}
	if c.nc != "" || c.NC != 0 {
		s += ", nc=" + c.count()
	}
	return s
}

func parse(t testing.TB, value string) *Credentials {
	t.Helper()
	c, ok, err := Parse([]byte(value))
	if !ok || err != nil {
		t.Fatalf("Parse(%s): got %v, %v", value, ok, err)
	}
	return &c
}

func TestCheck(t *testing.T) {
	g := guard()
	ha1 := MakeHA1(login, realm, password)
	both := Algorithms{"md5", "sha-256"}
	fresh := func(alg int) string { return g.challenges(now, realm, "", both, false)[1-alg] }
	tests := []struct {
		name    string
		c       *Credentials
		method  string
		visited string
		source  byte
		after   time.Duration
		ha1     HA1
		want    Result
	}{
		{name: "md5", c: answer(t, fresh(0), password, "REGISTER", 1), ha1: ha1, want: Good},
		{name: "sha-256", c: answer(t, fresh(1), password, "REGISTER", 1), ha1: ha1, want: Good},
		{name: "wrong password", c: answer(t, fresh(0), "secreT", "REGISTER", 1), ha1: ha1, want: Bad},
		{name: "another method", c: answer(t, fresh(0), password, "INVITE", 1), ha1: ha1, want: Bad},
		{name: "algorithm not kept", c: answer(t, fresh(1), password, "REGISTER", 1), ha1: HA1{ha1[0]}, want: Bad},
		{name: "unknown user", c: answer(t, fresh(0), password, "REGISTER", 1), ha1: Dummy, want: Bad},
		{name: "nothing kept", c: answer(t, fresh(0), password, "REGISTER", 1), want: Bad},
		{name: "for another office", c: answer(t, g.challenges(now, realm, "south", nil, false)[0], password, "REGISTER", 1), ha1: ha1, want: Old},
		{name: "for this visited office", c: answer(t, g.challenges(now, realm, "south", nil, false)[0], password, "REGISTER", 1), visited: "south", ha1: ha1, want: Good},
		{name: "of another realm", c: answer(t, strings.Replace(g.challenges(now, "south.example", "", nil, false)[0], "south", "north", 1), password, "REGISTER", 1), ha1: ha1, want: Old},
		{name: "from before a restart", c: answer(t, guard().challenges(now, realm, "", nil, false)[0], password, "REGISTER", 1), ha1: ha1, want: Old},
		{name: "from this address", c: answer(t, g.Challenge(now, realm, Place{Source: [16]byte{7}}, nil, false, false)[0].Value, password, "REGISTER", 1), source: 7, ha1: ha1, want: Good},
		{name: "from another address", c: answer(t, g.Challenge(now, realm, Place{Source: [16]byte{7}}, nil, false, false)[0].Value, password, "REGISTER", 1), source: 8, ha1: ha1, want: Old},
		{name: "in time", c: answer(t, fresh(0), password, "REGISTER", 1), after: 5 * time.Minute, ha1: ha1, want: Good},
		{name: "too late", c: answer(t, fresh(0), password, "REGISTER", 1), after: 5*time.Minute + time.Millisecond, ha1: ha1, want: Old},
		{name: "too late and wrong", c: answer(t, fresh(0), "x", "REGISTER", 1), after: time.Hour, ha1: ha1, want: Bad},
		{name: "count 0", c: answer(t, fresh(0), password, "REGISTER", 0), ha1: ha1, want: Bad},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := g.Check(now.Add(tt.after), "REGISTER", Place{tt.visited, [16]byte{tt.source}}, tt.c, tt.ha1, nil); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCheckRefusesWhatItDoesNotKnow(t *testing.T) {
	g := guard()
	ha1 := MakeHA1(login, realm, password)
	for name, change := range map[string]func(*Credentials){
		"no qop (RFC 2069)": func(c *Credentials) { c.QOP = "" },
		"auth-int":          func(c *Credentials) { c.QOP = "auth-int" },
		"MD5-sess":          func(c *Credentials) { c.Algorithm = "MD5-sess" },
		"response cut":      func(c *Credentials) { c.Response = c.Response[:30] },
		"response empty":    func(c *Credentials) { c.Response = "" },
		"response long":     func(c *Credentials) { c.Response += c.Response },
		"response no hex":   func(c *Credentials) { c.Response = "x" + c.Response[1:] },
		"another uri":       func(c *Credentials) { c.URI = "sip:south.example" },
		"another cnonce":    func(c *Credentials) { c.CNonce += "1" },
		"another count":     func(c *Credentials) { c.NC, c.nc = 2, "" },
	} {
		c := answer(t, g.challenges(now, realm, "", nil, false)[0], password, "REGISTER", 1)
		if got := g.Check(now, "REGISTER", Place{}, c, ha1, nil); got != Good {
			t.Fatalf("%s: before: got %v, want Good", name, got)
		}
		change(c)
		if got := g.Check(now, "REGISTER", Place{}, c, ha1, nil); got != Bad {
			t.Errorf("%s: got %v, want Bad", name, got)
		}
	}
}

// RFC 7616 3.9.1. The nonce is not ours, so a right answer is Old.
func TestRFC7616Vectors(t *testing.T) {
	const common = `Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html",
	 nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, qop=auth,
	 cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
	ha1 := MakeHA1("Mufasa", "http-auth@example.org", "Circle of Life")
	for _, tail := range []string{
		`, response="8ca523f5e9506fed4657c9700eebdbec", algorithm=MD5`,
		`, response="8ca523f5e9506fed4657c9700eebdbec"`,
		`, response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", algorithm=SHA-256`,
	} {
		c := parse(t, strings.ReplaceAll(common, "\n", "")+tail)
		if got := guard().Check(now, "GET", Place{}, c, ha1, nil); got != Old {
			t.Errorf("%s: got %v, want Old", tail, got)
		}
	}
}

func TestWindow(t *testing.T) {
	steps := []struct {
		stamp uint64
		nc    uint32
		want  Result
	}{
		{10, 1, Good}, {10, 1, Again}, {10, 2, Good}, {10, 1, Again}, {10, 5, Good}, {10, 3, Good}, {10, 3, Again},
		{10, 5, Again}, {10, 68, Good}, {10, 5, Again}, {10, 4, Old}, {10, 6, Good}, {10, 300, Good}, {10, 68, Old},
		{10, 1 << 31, Good}, {10, 1<<32 - 1, Good}, {10, 1<<32 - 1, Again}, {10, 1, Old},
		{11, 1, Good}, {11, 1, Again}, {10, 7, Old}, {11, 2, Good}, {12, 9, Good}, {12, 8, Good}, {11, 3, Old},
	}
	var w Window
	for i, s := range steps {
		if got := w.use(s.stamp, s.nc); got != s.want {
			t.Fatalf("step %d, nonce %d count %d: got %v, want %v", i, s.stamp, s.nc, got, s.want)
		}
	}
}

// An answer for another qop is Bad even when it is right.
func TestOnlyAuth(t *testing.T) {
	g, ha1 := guard(), MakeHA1(login, realm, password)
	for qop, want := range map[string]Result{"auth": Good, "AUTH": Good, "auth-int": Bad, "x": Bad, "": Bad} {
		c := answer(t, g.challenges(now, realm, "", nil, false)[0], password, "REGISTER", 1)
		c.QOP = qop
		c.Response = respond(0, c, "REGISTER", ha1[0])
		if got := g.Check(now, "REGISTER", Place{}, c, ha1, nil); got != want {
			t.Errorf("qop %q: got %v, want %v", qop, got, want)
		}
	}
}

func TestRealmAndOfficeAreTwoWords(t *testing.T) {
	if binding("ab", "c") == binding("a", "bc") {
		t.Error("a nonce for realm ab and office c passes for realm a and office bc")
	}
}

// What was forgotten is stale, or a replay would pass with it.
func TestWindows(t *testing.T) {
	var w Windows
	for i := range uint64(2 * mostNonces) {
		if got := w.use(i+1, 1); got != Good {
			t.Errorf("nonce %d: got %v, want Good", i+1, got)
		}
	}
	if len(w.used) != mostNonces {
		t.Errorf("got %d nonces, want %d", len(w.used), mostNonces)
	}
	for _, s := range []struct {
		stamp uint64
		nc    uint32
		want  Result
	}{{1, 1, Old}, {1, 2, Old}, {mostNonces, 2, Old}, {2 * mostNonces, 1, Again}, {mostNonces + 1, 2, Good}, {2 * mostNonces, 2, Good}} {
		if got := w.use(s.stamp, s.nc); got != s.want {
			t.Errorf("nonce %d count %d: got %v, want %v", s.stamp, s.nc, got, s.want)
		}
	}
}

// A wrong answer must not use up the count of the right one.
func TestOnlyGoodMovesTheWindow(t *testing.T) {
	g, ha1 := guard(), MakeHA1(login, realm, password)
	challenge := g.challenges(now, realm, "", nil, false)[0]
	var w Windows
	if got := g.Check(now, "REGISTER", Place{}, answer(t, challenge, "x", "REGISTER", 9), ha1, &w); got != Bad || len(w.used) != 0 || w.floor != 0 {
		t.Fatalf("wrong: got %v and %v, want Bad and nothing", got, w)
	}
	for _, want := range []Result{Good, Again} {
		if got := g.Check(now, "REGISTER", Place{}, answer(t, challenge, password, "REGISTER", 1), ha1, &w); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestChallenge(t *testing.T) {
	g := guard()
	for _, tt := range []struct {
		a    Algorithms
		want []string
	}{
		{nil, []string{"MD5"}},
		{Algorithms{"md5"}, []string{"MD5"}},
		{Algorithms{"sha-256"}, []string{"SHA-256"}},
		{Algorithms{"sha-256", "md5"}, []string{"SHA-256", "MD5"}},
		{Algorithms{"md5", "sha-256"}, []string{"SHA-256", "MD5"}},
	} {
		challenges := g.challenges(now, `a "quoted" realm`, "", tt.a, true)
		if len(challenges) != len(tt.want) {
			t.Fatalf("%v: got %d challenges, want %d", tt.a, len(challenges), len(tt.want))
		}
		first := parse(t, challenges[0]+`, username=u, uri=u, response=r, nc=00000001, cnonce=c`)
		for i, s := range challenges {
			c := parse(t, s+`, username=u, uri=u, response=r, nc=00000001, cnonce=c`)
			if c.Algorithm != tt.want[i] || c.Nonce != first.Nonce || c.Realm != `a "quoted" realm` || c.QOP != "auth" {
				t.Errorf("%v, %d: got %s", tt.a, i, s)
			}
			if !strings.HasSuffix(s, ", stale=true") {
				t.Errorf("%v, %d: got %s, want stale", tt.a, i, s)
			}
		}
	}
	if s := g.challenges(now, realm, "", nil, false)[0]; strings.Contains(s, "stale") {
		t.Errorf("got %s, want no stale", s)
	}
}

// Two phones challenged in one turn must not share a nonce, nor count each other's answers.
func TestNoncesDiffer(t *testing.T) {
	g := guard()
	a, b := g.challenges(now, realm, "", nil, false)[0], g.challenges(now, realm, "", nil, false)[0]
	if a == b {
		t.Errorf("the same challenge twice: %s", a)
	}
}

func TestChallengeOfProxy(t *testing.T) {
	for proxy, want := range map[bool]sip.Name{false: sip.WWWAuthenticate, true: sip.ProxyAuthenticate} {
		for _, f := range guard().Challenge(now, realm, Place{}, Algorithms{"md5", "sha-256"}, false, proxy) {
			if f.Name != want {
				t.Errorf("proxy %v: got %s, want %s", proxy, f.Name, want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	const rest = `, realm="r", nonce="n", uri="sip:x", response="e"`
	for _, tt := range []struct{ in, user string }{
		{`Digest username="a"` + rest, "a"},
		{`digest USERNAME="a"` + rest, "a"},
		{"Digest\t username \t= \"a\"" + rest, "a"},
		{`Digest username="a\"b\\c, d=e"` + rest, `a"b\c, d=e`},
		{`Digest username=a.b_c` + rest, "a.b_c"},
		{`Digest username="a"` + rest + ",", "a"},
		{`Digest ,, username="a" ,,` + rest, "a"},
		{`Digest username="a"` + rest + `, flag, other="x", other="y"`, "a"},
		{`Digest username="a"` + rest + `, opaque=""`, "a"},
		{`Digest username*=UTF-8''b, username="a"` + rest, "a"},
		{"Digest username=\"\xc3\xa9\"" + rest, "é"},
	} {
		if c := parse(t, tt.in); c.Username != tt.user || c.Response != "e" {
			t.Errorf("%s: got %+v, want user %s", tt.in, c, tt.user)
		}
	}
	if c := parse(t, `Digest username=u`+rest+`, nc=FFFFFFFF, cnonce="c", qop=auth`); c.NC != 1<<32-1 {
		t.Errorf("got count %d, want 2^32-1", c.NC)
	}
}

func TestParseRefuses(t *testing.T) {
	const all = `Digest username="a", realm="r", nonce="n", uri="sip:x", response="e"`
	for _, in := range []string{
		"Digest", "Digest ", `Digest username="a"`, "Digest =", `Digest "`, `Digest username="a`, `Digest username="a\"`,
		all + `, username="b"`, all + `, opaque="", OPAQUE="x"`, all + `, realm`, all + ` x`, all + `, a b=c`, all + `, x=`,
		all + `, qop=auth`, all + `, qop=auth, nc=00000001`, all + `, qop=auth, cnonce="c"`,
		all + `, nc=1`, all + `, nc=000000001`, all + `, nc=0000000g`, all + `, nc=+0000001`, all + `, nc=-0000001`,
		strings.Replace(all, `nonce="n"`, `nonce=""`, 1), strings.Replace(all, `uri="sip:x", `, "", 1),
		all + `, x="a" y="b"`, all + `, x="a"b`,
	} {
		c, ok, err := Parse([]byte(in))
		var r *sip.Refused
		if !ok || !errors.As(err, &r) || r.Code != 400 || c != (Credentials{}) {
			t.Errorf("%s: got %+v, %v, %v, want a 400", in, c, ok, err)
		}
	}
	for _, in := range []string{"", "Basic dTpw", "NoOneKnowsThisScheme opaque-data=here", "DigestX a=b"} {
		if c, ok, err := Parse([]byte(in)); ok || err != nil || c != (Credentials{}) {
			t.Errorf("%q: got %v, %v, want another scheme", in, ok, err)
		}
	}
}

// Whatever is parsed is the same once printed and parsed again, and never passes for the user.
func FuzzDigest(f *testing.F) {
	g, ha1 := guard(), MakeHA1(login, realm, password)
	f.Add(`Digest username="a", realm="r", nonce="n", uri="sip:x", response="e"`)
	f.Add(print(answer(f, g.challenges(now, realm, "", nil, false)[0], "wrong", "REGISTER", 1)))
	f.Add(`Digest username="1001", realm="north.example", qop="auth", algorithm="SHA-256", nc=00000001, cnonce="c", nonce="n", uri="u", response="00"`)
	f.Fuzz(func(t *testing.T, value string) {
		c, ok, err := Parse([]byte(value))
		if !ok || err != nil {
			return
		}
		again, ok, err := Parse([]byte(print(&c)))
		if !ok || err != nil || again != c {
			t.Errorf("%q: got %+v, then %+v, %v", value, c, again, err)
		}
		if got := g.Check(now, "REGISTER", Place{}, &c, ha1, nil); got != Bad {
			t.Errorf("%q: got %v, want Bad", value, got)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	value := []byte(print(answer(b, guard().challenges(now, realm, "", nil, false)[0], password, "REGISTER", 1)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := Parse(value); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	g, ha1 := guard(), MakeHA1(login, realm, password)
	for n, challenge := range g.challenges(now, realm, "", Algorithms{"md5", "sha-256"}, false) {
		c := answer(b, challenge, password, "REGISTER", 1)
		b.Run(algorithms[1-n].wire, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var w Windows
				if got := g.Check(now, "REGISTER", Place{}, c, ha1, &w); got != Good {
					b.Fatal(got)
				}
			}
		})
	}
}

func BenchmarkChallenge(b *testing.B) {
	g := guard()
	b.ReportAllocs()
	for b.Loop() {
		g.Challenge(now, realm, Place{}, nil, false, false)
	}
}
