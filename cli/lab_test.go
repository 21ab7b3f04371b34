package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/config"
	"github.com/siproam/siproam/office"
)

// testLab is a lab in a directory of the test's own.
func testLab(t *testing.T, addr string) *lab {
	t.Helper()
	l := newLab(t.TempDir(), addr, standardBase)
	if err := l.makeAccounts(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCertificates(t *testing.T) {
	l := testLab(t, loopback)
	if err := l.certificates(); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(l.pem("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	before := map[string]string{}
	for _, o := range labOffices {
		pair, err := tls.LoadX509KeyPair(l.pem(o+".pem"), l.pem(o+".key"))
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			for _, name := range []string{certificateName(o), loopback} {
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
					t.Errorf("%s as %s: %v", o, name, err)
				}
			}
		}
		if pair.Leaf.VerifyHostname("sip.other.example") == nil {
			t.Errorf("%s passes as another office", o)
		}
		if info, err := os.Stat(l.pem(o + ".key")); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v %v, want 0600", o, info.Mode(), err)
		}
		before[o] = string(pair.Certificate[0])
	}
	// South's is about to end: it is made anew, and the others stay.
	ca, err := l.load("ca")
	if err != nil {
		t.Fatal(err)
	}
	south, err := l.load("south")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.sign("south", south.cert, ca, renewThen-time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := l.certificates(); err != nil {
		t.Fatal(err)
	}
	for _, o := range labOffices {
		p, err := l.load(o)
		if err != nil {
			t.Fatal(err)
		}
		if same := string(p.cert.Raw) == before[o]; same != (o != "south") {
			t.Errorf("%s: kept %v, want kept but for south", o, same)
		}
	}
	// Another CA: nothing of the old one is left.
	if err := os.Remove(l.pem("ca.key")); err != nil {
		t.Fatal(err)
	}
	if err := l.certificates(); err != nil {
		t.Fatal(err)
	}
	if ca, err = l.load("ca"); err != nil {
		t.Fatal(err)
	}
	for _, o := range labOffices {
		if p, err := l.load(o); err != nil || p.cert.CheckSignatureFrom(ca.cert) != nil {
			t.Errorf("%s: %v, not of the new CA", o, err)
		}
	}
}

// TestAccounts: everybody may know the demo passwords, so they never leave loopback; random ones stay from start to start.
func TestAccounts(t *testing.T) {
	l := testLab(t, loopback)
	if got := l.accounts.passwords["1001"]; got != "demo-1001" {
		t.Errorf("got %q, want demo-1001", got)
	}
	again := newLab(l.state, loopback, standardBase)
	if err := again.makeAccounts(); err != nil || again.accounts.changed {
		t.Errorf("got changed %v %v, want the same as before", again.accounts.changed, err)
	}
	lan := newLab(l.state, "192.0.2.1", standardBase)
	if err := lan.makeAccounts(); err != nil || !lan.accounts.changed {
		t.Errorf("got changed %v %v, want new passwords", lan.accounts.changed, err)
	}
	for n, p := range lan.accounts.passwords {
		if strings.HasPrefix(p, "demo-") || len(p) < 12 {
			t.Errorf("%s: %q beyond loopback", n, p)
		}
	}
	next := newLab(l.state, "192.0.2.1", standardBase)
	if err := next.makeAccounts(); err != nil || next.accounts.changed || next.accounts.passwords["3009"] != lan.accounts.passwords["3009"] {
		t.Errorf("got changed %v %v, want what was made before", next.accounts.changed, err)
	}
	if info, err := os.Stat(filepath.Join(l.state, accountsFile)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("got %v %v, want 0600", info.Mode(), err)
	}
}

func TestPorts(t *testing.T) {
	p := portsAt(standardBase)
	if p.sip != [3]int{5060, 5160, 5260} || p.partner != [3]int{5067, 5167, 5267} || p.http != 8080 || p.store != 6390 || p.media != [3]int{20000, 20200, 20400} {
		t.Errorf("got %+v, want the table of FACE", p)
	}
	used := map[int]bool{}
	p = portsAt(portsMax)
	for i := range p.sip {
		for _, n := range []int{p.sip[i], p.partner[i]} {
			if used[n] {
				t.Errorf("port %d twice", n)
			}
			used[n] = true
		}
		for n := p.media[i]; n < p.media[i]+p.mediaSize; n++ {
			if used[n] || n > 65535 {
				t.Errorf("media port %d twice, or none", n)
			}
			used[n] = true
		}
	}
	if used[p.http] || used[p.store] || p.http == p.store {
		t.Error("pages or routing store share a port")
	}
}

// TestWrite: what up would run stands in files that serve takes.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "offices")
	out, errs, code := call(t, "", "up", "--write", dir, "--redis", "redis://127.0.0.1:6379/0")
	if code != 0 || strings.Count(out, "office.yaml") != 3 {
		t.Fatalf("got exit %d\n%s%s", code, out, errs)
	}
	pages := map[string]bool{}
	for i, name := range labOffices {
		cfg := office.DefaultConfig()
		if err := config.Read(filepath.Join(dir, name, "office.yaml"), &cfg); err != nil {
			t.Fatal(err)
		}
		if err := cfg.Files(); err != nil {
			t.Error(err)
		}
		if cfg.Routes.Redis != "redis://127.0.0.1:6379/0" || cfg.State != filepath.Join(dir, name) || len(cfg.Partners) != 2 || cfg.Domain != domain(i) {
			t.Errorf("got %+v", cfg)
		}
		pages[cfg.HTTP.Listen] = true
		if out, errs, code := call(t, "", "check", "-c", filepath.Join(dir, name, "office.yaml")); code != 0 || !strings.Contains(out, "5067/tcp") && i == 0 {
			t.Errorf("check: got exit %d\n%s%s", code, out, errs)
		}
	}
	if len(pages) != 3 {
		t.Errorf("got pages at %v, want three addresses", pages)
	}
}

func TestBanner(t *testing.T) {
	l := testLab(t, loopback)
	var out bytes.Buffer
	l.banner(&out, &up{}, 400*time.Millisecond)
	for _, want := range []string{
		"three offices on this machine, routing store included        ready in 0.4 s",
		"  north    127.0.0.1:5060   20000-20199   1001-1009  alice=1001 bob=1002",
		"  west     127.0.0.1:5260   20400-20599   3001-3009  dave=3001",
		`<sip:1001@north.example>;auth_user=1001;auth_pass=demo-1001;outbound="sip:127.0.0.1:5160"`,
		"redis-cli -p 6390 hgetall 'roam:loc:{1001@north.example}'",
		"http://127.0.0.1:8080",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got no %q in\n%s", want, out.String())
		}
	}
	if got := withoutPassword("redis://user:secret@redis.example:6379/0"); strings.Contains(got, "secret") {
		t.Errorf("the banner shows %q", got)
	}
}

// TestReadmeBanner: the README shows what up prints.
func TestReadmeBanner(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	l := newLab(filepath.Join(home, ".local", "state", "siproam", "up"), loopback, standardBase)
	if err := l.makeAccounts(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	l.banner(&out, &up{}, 100*time.Millisecond)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(out.String(), os.Args[0], "go run ."); !strings.Contains(string(readme), "```\n"+got+"```\n") {
		t.Errorf("README.md does not show\n%s", got)
	}
}

// TestFresh: --fresh forgets an up's state, and nothing else.
func TestFresh(t *testing.T) {
	l := testLab(t, loopback)
	if err := l.certificates(); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(l.state, "mine.txt")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := forget(l.state); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.pem("ca.key")); !os.IsNotExist(err) {
		t.Errorf("got %v, want the CA gone", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("got %v, want a stranger's file to stay", err)
	}
	if err := forget(l.state); err == nil {
		t.Error("forgets a directory that is no up's")
	}
	if err := forget(filepath.Join(l.state, "none")); err != nil {
		t.Errorf("got %v for a directory that is not there", err)
	}
}
