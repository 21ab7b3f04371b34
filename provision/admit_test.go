package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

const mine = "/001565a1b2c3.cfg"

// TestPhone is the life of a phone: given, fetched once by its lease, then by its own credential, reset, taken away.
func TestPhone(t *testing.T) {
	w := newWorld(t, nil)
	w.want(404, mine)
	w.why("unknown")
	w.add(yealink, "2001")
	password := w.reg.password("2001@south.example", yealink)
	if len(password) != 24 {
		t.Fatalf("got %q at the registrar", password)
	}
	got := w.want(200, mine)
	for _, want := range []string{"account.1.password = " + password + "\n", "account.1.auth_name = phone-001565a1b2c3\n", "account.1.user_name = 2001\n", "account.1.display_name = Alice\n", "account.1.outbound_proxy.1.address = 192.0.2.1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %s", got, want)
		}
	}
	w.want(200, mine) // the answer may have been lost
	w.now = w.now.Add(again + time.Second)
	if res := w.ask(mine); res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("got %s %v, want to be asked who it is", res.Status, res.Header)
	}
	w.why("again")
	secret := derive(w.server.secret, forHTTP, yealink, 1)
	if !strings.Contains(got, "static.auto_provision.server.password = "+secret+"\n") {
		t.Errorf("got\n%s\nwant what it fetches with", got)
	}
	for _, bad := range [][2]string{{"phone-001565a1b2c3", password}, {"phone-001565a1b2c3", ""}, {"", secret}, {"phone-001565a1b2c4", secret}, {"2001", secret}, {"phone-001565a1b2c3", secret + "x"}} {
		w.want(401, mine, with(bad[0], bad[1]))
	}
	w.want(200, mine, with("phone-001565a1b2c3", secret))
	w.restart()
	w.now = w.now.Add(time.Hour)
	w.want(401, mine)
	if again := w.want(200, mine, with("phone-001565a1b2c3", secret)); again != got {
		t.Errorf("after a restart: got\n%s\nwant\n%s", again, got)
	}

	if _, err := w.server.Reset(context.Background(), yealink); err != nil {
		t.Fatal(err)
	}
	next := w.reg.password("2001@south.example", yealink)
	if next == password || next == "" {
		t.Errorf("after a reset: got %q", next)
	}
	w.want(200, mine) // as the first time
	w.now = w.now.Add(time.Hour)
	w.want(401, mine, with("phone-001565a1b2c3", secret)) // of the former generation

	if _, err := w.server.Remove(context.Background(), yealink); err != nil {
		t.Fatal(err)
	}
	if left := w.reg.password("2001@south.example", yealink); left != "" {
		t.Errorf("after it was taken away: got %q", left)
	}
	w.want(404, mine)
	w.restart()
	w.add(yealink, "2002") // and never again what it was
	for _, was := range []string{password, next} {
		if now := w.reg.password("2002@south.example", yealink); now == was || now == "" {
			t.Errorf("given anew: got %q", now)
		}
	}
	w.add(yealink, "2001")
	if left := w.reg.password("2002@south.example", yealink); left != "" {
		t.Errorf("given to somebody else: 2002 still has %q", left)
	}
	if log := w.logged(); strings.Contains(log, password) || strings.Contains(log, secret) || strings.Contains(log, next) {
		t.Errorf("a secret in the log: %s", log)
	}
}

// TestOnce: a first fetch serves one address once, and what is never sent is not counted.
func TestOnce(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Leases, c.First = Ignored, BySecret })
	w.add(yealink, "2001")
	link := "/" + w.server.Secret(yealink.Colons())
	head := func(r *http.Request) { r.Method = "HEAD" }
	w.want(401, mine)
	w.why("secret")
	w.ask(link+mine, head)
	w.ask(link+mine, head)
	w.want(404, link+"/cfg000b82000001.xml", as("Grandstream")) // another phone with this one's secret
	if w.server.Secret("nonsense") != "" || w.server.Secret("000b82000001") == strings.Trim(link, "/") {
		t.Error("a secret is one phone's")
	}
	w.want(200, link+mine)
	w.want(401, link+mine, from("192.0.2.99"))
	w.why("again")
	w.want(200, link+mine)
	w.now = w.now.Add(again + time.Second)
	w.want(401, link+mine)
	if log := w.logged(); strings.Contains(log, strings.Trim(link, "/")) {
		t.Errorf("the secret in the log: %s", log)
	}
}

// TestSharedSecret: one secret in the URL of all phones serves each once, and changes on reload.
func TestSharedSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("0123456789abcdefXYZ")
	w := newWorld(t, func(c *Config) { c.Leases, c.First, c.SecretFile, c.Unknown = Ignored, BySecret, file, Only })
	other := MAC{0x00, 0x0b, 0x82, 0, 0, 1}
	w.add(yealink, "2001")
	w.add(other, "2002")
	w.want(200, "/0123456789abcdefXYZ"+mine)
	w.now = w.now.Add(time.Hour)
	w.want(401, "/0123456789abcdefXYZ"+mine)
	w.want(200, "//0123456789abcdefXYZ//cfg000b82000001.xml", as("Grandstream Model HW GXP2160"))
	w.want(404, "/cfg000b82000002.xml", as("Grandstream Model HW GXP2160"))
	w.why("secret")
	w.want(200, "/0123456789abcdefXYZ/cfg000b82000002.xml", as("Grandstream Model HW GXP2160"))
	write("another0123456789")
	if err := w.server.Reload(w.cfg); err != nil {
		t.Fatal(err)
	}
	w.want(404, "/0123456789abcdefXYZ/cfg000b82000002.xml", as("Grandstream Model HW GXP2160"))
	for _, bad := range []string{"short", strings.Repeat("x", 65), "0123456789abcdef/..", ""} {
		write(bad)
		if err := w.server.Reload(w.cfg); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
	w.want(200, "/another0123456789/cfg000b82000002.xml", as("Grandstream Model HW GXP2160"))
}

// TestLeases: nothing for an address without a lease, or with another phone's.
func TestLeases(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Unknown = Guest })
	w.add(yealink, "2001")
	w.want(404, mine, from("192.0.2.99"))
	w.why("lease")
	w.leases[netip.MustParseAddr("192.0.2.99")] = "00:15:65:00:00:99"
	w.want(404, mine, from("192.0.2.99"))
	w.why("another")
	w.want(404, "/y000000000066.cfg", from("203.0.113.1"))
	w.why("lease")
	w.want(200, "/y000000000066.cfg", from("192.0.2.99"))
	w.want(200, mine, from("::ffff:192.0.2.31"))
	w.leases[desk] = "nonsense"
	w.want(404, mine)
	w.why("lease")
	w.server.leases = nil
	w.want(404, mine)
}

// TestStrangers is the policies for a phone that is nobody's.
func TestStrangers(t *testing.T) {
	poly := netip.MustParseAddr("192.0.2.40")
	for unknown, want := range map[string]struct {
		code, whole, common int
		label               bool
	}{Refuse: {404, 404, 200, false}, Only: {200, 404, 200, false}, Guest: {200, 200, 200, true}} {
		t.Run(unknown, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.Unknown = unknown })
			w.leases[poly] = "00:04:f2:00:00:01"
			got := w.want(want.code, mine)
			if strings.Contains(got, "account.1.label = Guest") != want.label || strings.Contains(got, "password") || strings.Contains(got, "user_name") {
				t.Errorf("got\n%s", got)
			}
			if want.code == 200 && !strings.Contains(got, "account.1.outbound_proxy.1.address = 192.0.2.1\n") {
				t.Errorf("got\n%s\nwant where to register", got)
			}
			w.want(want.common, "/y000000000066.cfg")
			got = w.want(want.whole, "/siproam-0004f2000001.cfg", from(poly.String()), as("FileTransport PolycomVVX-VVX_411-UA/5.9.0 Type/Application"))
			if strings.Contains(got, "auth") {
				t.Errorf("got\n%s", got)
			}
			list := w.server.Phones()
			if len(list) != 2 || list[1].MAC != yealink || list[1].User != "" || list[1].Vendor != "yealink" || list[1].Addr != desk || (list[1].Refused == "") != (want.code == 200) {
				t.Errorf("got %+v", list)
			}
			w.add(yealink, "2001")
			if list := w.server.Phones(); len(list) != 2 || list[1].User != "2001@south.example" || list[1].Refused != "" || !list[1].Fetched.IsZero() {
				t.Errorf("got %+v", list)
			}
		})
	}
}

// TestManyStrangers: no more are remembered than fit.
func TestManyStrangers(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Rate.Source = Rate{10000, 10000} })
	for i := range 2 * mostStrange {
		w.now = w.now.Add(time.Second)
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		m := MAC{0, 0x15, 0x65, 0, byte(i >> 8), byte(i)}
		w.leases[a] = m.Colons()
		w.want(404, "/"+m.String()+".cfg", from(a.String()))
	}
	if n := len(w.server.Phones()); n != mostStrange {
		t.Errorf("got %d, want %d", n, mostStrange)
	}
}

// TestVendors: which of several vendors a file is for.
func TestVendors(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Unknown = Guest })
	for i, c := range []struct {
		mac, agent, vendor, want string
	}{
		{"001565000001", "", "", "#!version"},
		{"001565000002", "Mozilla/5.0", "", "#!version"},
		{"001565000003", "Fanvil X4 2.12.1 001565000003", "", "<sysConf>"},
		{"0c383e000004", "", "", "<sysConf>"},
		{"0004f2000005", "", "", "<APPLICATION"},
		{"02aabb000006", "FileTransport PolyEdge-Edge_E350-UA/8.0.0", "", "<APPLICATION"},
		{"02aabb000007", "Mozilla/5.0", "", ""},
		{"02aabb000008", "Fanvil", "yealink", "#!version"},
		{"02aabb000009", "", "poly", "<APPLICATION"},
		{"02aabb00000a", "", "grandstream", ""},
	} {
		m, _ := ParseMAC(c.mac)
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
		w.leases[a] = m.Colons()
		if _, err := w.server.Add(context.Background(), m, "2001", c.vendor); err != nil {
			t.Fatal(err)
		}
		code := 200
		if c.want == "" {
			code = 404
		}
		if got := w.want(code, "/"+c.mac+".cfg", from(a.String()), as(c.agent)); !strings.Contains(got, c.want) {
			t.Errorf("%s %q: got\n%s\nwant %s", c.mac, c.agent, got, c.want)
		}
	}
	if _, err := w.server.Add(context.Background(), yealink, "2001", "nokia"); !errors.Is(err, ErrVendor) {
		t.Errorf("got %v, want %v", err, ErrVendor)
	}
}

// TestPaths: there is no file but what a template answers to.
func TestPaths(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Unknown, c.Rate.Source = Guest, Rate{10000, 10000} })
	for _, path := range []string{"", "/", "//", "/.", "/..", "/../office.db", "/../../etc/passwd", "/templates/", "/yealink/", "/yealink/MAC.cfg", "/MAC.cfg", "/office.yaml",
		"/001565a1b2c3.cfg/", "/001565a1b2c3.cfg/..", "/a/b/001565a1b2c3.cfg", "/0123456789abcdef/../001565a1b2c3.cfg", "/001565a1b2c3.cfg\x00.xml", "/001565A1B2C3.CFG.bak",
		"/00:15:65:a1:b2:c3.cfg", "/001565a1b2c3", "/.cfg", "/" + strings.Repeat("a", 300), "/001565a1b2c3.cfg%00", "/\\..\\001565a1b2c3.cfg", "/0123456789abcde!/001565a1b2c3.cfg", "/000000000000.cfg", "/010000000000.cfg", "*", "/ﬀ1565a1b2c3.cfg"} {
		if path == "/001565a1b2c3.cfg/" {
			continue // a slash too many, as phones make them
		}
		if got := w.ask(path).StatusCode; got != 404 {
			t.Errorf("%q: got %d, want 404", path, got)
		}
	}
	for _, raw := range []string{"/%2e%2e/001565a1b2c3.cfg", "/..%2f001565a1b2c3.cfg", "/0123456789abcdef%2f001565a1b2c3.cfg"} {
		res := w.ask("/x", func(r *http.Request) {
			u, err := r.URL.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			r.URL = u
		})
		if res.StatusCode != 404 {
			t.Errorf("%s: got %s, want 404", raw, res.Status)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "CONNECT", "TRACE"} {
		res := w.ask(mine, func(r *http.Request) { r.Method = method })
		if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: got %s", method, res.Status)
		}
	}
	w.want(200, mine)
	w.want(200, "//001565A1B2C3.CFG/")
}

// TestRates: a source that asks too often is told when to come back, and all together are.
func TestRates(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Unknown, c.Rate = Guest, Rates{Rate{1, 3}, Rate{1, 5}} })
	other := netip.MustParseAddr("192.0.2.32")
	w.leases[other] = "00:15:65:00:00:32"
	for range 3 {
		w.want(200, "/y000000000066.cfg")
	}
	res := w.ask("/y000000000066.cfg")
	if res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("got %s %v", res.Status, res.Header)
	}
	w.why("rate")
	w.want(200, "/y000000000066.cfg", from(other.String()))
	w.want(200, "/y000000000066.cfg", from(other.String()))
	res = w.ask("/y000000000066.cfg", from(other.String()))
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("got %s %v", res.Status, res.Header)
	}
	w.now = w.now.Add(10 * time.Second)
	w.want(200, "/y000000000066.cfg")
	for i := range 2 * mostSources {
		w.server.limit.take(w.now, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), 0, byte(i)}))
	}
	if n := len(w.server.limit.sources); n > mostSources {
		t.Errorf("%d sources are counted, want at most %d", n, mostSources)
	}
	if source(netip.MustParseAddr("2001:db8::1")) != source(netip.MustParseAddr("2001:db8::ffff:2")) || source(netip.MustParseAddr("192.0.2.1")) == source(netip.MustParseAddr("192.0.2.2")) {
		t.Error("a source is one IPv4 address, or one /64")
	}
}

// TestUserGone: a phone whose user is no more, or may not register, gets nothing.
func TestUserGone(t *testing.T) {
	w := newWorld(t, nil)
	w.add(yealink, "2001")
	delete(w.reg.users, "2001@south.example")
	w.want(404, mine)
	w.why("user")
	if _, err := w.server.Add(context.Background(), yealink, "2999", ""); !errors.Is(err, roam.NoSuchUser) {
		t.Errorf("got %v", err)
	}
	for _, m := range []MAC{{}, {1, 2, 3, 4, 5, 6}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		if _, err := w.server.Add(context.Background(), m, "2002", ""); !errors.Is(err, ErrMAC) {
			t.Errorf("%s: got %v, want %v", m.Colons(), err, ErrMAC)
		}
	}
	if _, err := w.server.Remove(context.Background(), MAC{2}); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if _, err := w.server.Reset(context.Background(), MAC{2}); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// TestRace: of two that ask for a phone's first settings at once, from two addresses, one gets them.
func TestRace(t *testing.T) {
	for i := range 5 {
		w := newWorld(t, func(c *Config) { c.Leases, c.First = Ignored, BySecret })
		w.add(yealink, "2001")
		path := "/" + w.server.Secret(yealink.String()) + mine
		codes := make(chan int, 2)
		for _, a := range []string{"192.0.2.1", "192.0.2.2"} {
			go func() { codes <- w.ask(path, from(a)).StatusCode }()
		}
		if a, b := <-codes, <-codes; a+b != 200+401 {
			t.Errorf("time %d: got %d and %d, want one 200", i, a, b)
		}
		w.stop()
	}
}

// TestDerive: what is derived differs by use, phone, generation and office, and is the same every time.
func TestDerive(t *testing.T) {
	seen := map[string]string{}
	for _, secret := range [][]byte{make([]byte, 32), append(make([]byte, 31), 1)} {
		for _, use := range []string{forSIP, forHTTP, forURL} {
			for _, m := range []MAC{yealink, {2}} {
				for _, g := range []uint64{0, 1, 256} {
					d, of := derive(secret, use, m, g), fmt.Sprint(secret, use, m, g)
					if len(d) != 24 || !isSecret(d) || seen[d] != "" || d != derive(secret, use, m, g) {
						t.Errorf("got %q, that of %s, too", d, seen[d])
					}
					seen[d] = of
				}
			}
		}
	}
	if got := derive(make([]byte, 32), forSIP, yealink, 1); got != "3u5yz4e9fzet74sy98862wn3" { // phones have it
		t.Errorf("got %q, want what it always was", got)
	}
}

// TestAvalanche: a thousand phones that start at once all get their settings, each its own.
func TestAvalanche(t *testing.T) {
	w := newWorld(t, nil)
	const many = 1000
	phones := make([]MAC, many)
	for i := range phones {
		phones[i] = MAC{0, 0x15, 0x65, 1, byte(i >> 8), byte(i)}
		w.leases[netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})] = phones[i].Colons()
	}
	w.server.mu.Lock()
	for _, m := range phones {
		w.server.phones[m] = &record{User: "2001@south.example", Generation: 1, Given: w.now}
	}
	w.server.mu.Unlock()
	began := time.Now()
	wrong := make(chan string, many)
	for i, m := range phones {
		go func() {
			res := w.ask("/"+m.String()+".cfg", from(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String()))
			b, _ := io.ReadAll(res.Body)
			if res.StatusCode != 200 || !strings.Contains(string(b), derive(w.server.secret, forSIP, m, 1)) {
				wrong <- m.String() + ": " + res.Status
				return
			}
			wrong <- ""
		}()
	}
	for range phones {
		if text := <-wrong; text != "" {
			t.Error(text)
		}
	}
	t.Logf("%d phones in %v", many, time.Since(began))
	w.restart()
	for _, m := range phones {
		if r := w.server.copyOf(m); r.First.IsZero() || r.Generation != 1 {
			t.Fatalf("%s: got %+v after a restart", m, r)
		}
	}
}
