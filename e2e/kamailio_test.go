//go:build endpoints

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// kamailio is one running Kamailio.
type kamailio struct {
	t   *testing.T
	dir string
	out *lockedBuffer
}

// startKamailio runs Kamailio at addr, port 5060, with more arguments.
func startKamailio(t *testing.T, addr string, args ...string) *kamailio {
	t.Helper()
	k := &kamailio{t: t, dir: t.TempDir(), out: &lockedBuffer{}}
	args = append([]string{"-l", "udp:" + addr + ":5060", "-l", "tcp:" + addr + ":5060", "-n", "2", "-m", "64", "-M", "8",
		"-w", k.dir, "-Y", k.dir, "-P", filepath.Join(k.dir, "pid"), "-DD", "-E"}, args...)
	cmd := exec.Command("kamailio", args...)
	cmd.Stdout, cmd.Stderr = k.out, k.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if t.Failed() {
			t.Logf("kamailio at %s\n%s", addr, tail(k.out.String(), 4000))
		}
	})
	eventually(t, 10*time.Second, "kamailio at "+addr, func() error {
		_, err := k.rpc("core.uptime")
		return err
	})
	return k
}

// rpc asks Kamailio by its control socket.
func (k *kamailio) rpc(args ...string) (string, error) {
	out, err := exec.Command("kamcmd", append([]string{"-s", "unix:" + filepath.Join(k.dir, "kamailio_ctl")}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kamcmd %v: %w: %s", args, err, out)
	}
	return string(out), nil
}

var kamailioContact = regexp.MustCompile(`Address: (\S+)`)

// contacts is where Kamailio sends calls for user.
func (k *kamailio) contacts(user string) (all []string) {
	k.t.Helper()
	out, err := k.rpc("ul.lookup", "location", user)
	if err != nil {
		return nil // nowhere
	}
	for _, m := range kamailioContact.FindAllStringSubmatch(out, -1) {
		all = append(all, m[1])
	}
	return all
}

// acmeAddr is where the foreign home is.
const acmeAddr = "127.0.0.9"

// startAcme runs Kamailio with the configuration that its package brings, authentication switched on, as the home of
// acme.example: user location, and accounts in text files. The password of each user is "pw-" and the name.
func startAcme(t *testing.T, users ...string) *kamailio {
	t.Helper()
	db := t.TempDir()
	for _, table := range []string{"version", "subscriber"} {
		b, err := os.ReadFile("/usr/share/kamailio/dbtext/kamailio/" + table)
		if err != nil {
			t.Fatal(err)
		}
		for i, u := range users {
			if table == "subscriber" {
				b = fmt.Appendf(b, "%d:%s:acme.example:pw-%s:none:none\n", i+1, u, u)
			}
		}
		if err := os.WriteFile(filepath.Join(db, table), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return startKamailio(t, acmeAddr, "-f", "/etc/kamailio/kamailio.cfg", "--alias", "acme.example", "--loadmodule", "db_text.so",
		"-A", "WITH_AUTH", "-A", `DBURL="text://`+db+`"`)
}

// acmeAccount is the account of one of its users, at a proxy.
func acmeAccount(user, proxy string) account {
	return account{aor: "sip:" + user + "@acme.example", login: user, password: "pw-" + user, proxy: proxy}
}

// withAcme makes acme a partner of two of the three offices: north speaks UDP with it, south TCP.
func withAcme(base func(office string) int, front bool) func(office, yaml string) string {
	return func(office, y string) string {
		if office == "west" {
			return y
		}
		return strings.Replace(y, "\npartners:\n", fmt.Sprintf(`
partners:
  - office: acme
    foreign: {domain: acme.example, registrar: "sip:%s:5060%s", listen: 127.0.0.1:%d, sources: [%s], expires: 60s, front: %v}
    visitors: {max: 5}
`, acmeAddr, map[string]string{"south": ";transport=tcp"}[office], base(office), acmeAddr, front), 1)
	}
}

// TestKamailioHome: a Kamailio as installed is the home of carol, who sits in north, moves to south and goes home. She is
// called and calls, with sound, from and to home, the office where she is, and another one.
func TestKamailioHome(t *testing.T) {
	kam := startAcme(t, "carol", "bob", "dave")
	l := startThree(t, withAcme(func(o string) int { return 15070 + labOrder[o] }, false))
	carol := newBaresip(t, 440, acmeAccount("carol", l.proxy("north"))).start().registered()
	bob := newBaresip(t, 880, acmeAccount("bob", acmeAddr+":5060")).start().registered()
	dave := newBaresip(t, 770, acmeAccount("dave", l.proxy("north"))).start().registered()
	alice := newBaresip(t, 660, demoAccount("1001", "north.example", l.proxy("north"))).start().registered()
	sue := newBaresip(t, 1000, demoAccount("2001", "south.example", l.proxy("south"))).start().registered()

	at := func(office string, port int) {
		t.Helper()
		eventually(t, 3*time.Second, "carol at "+office, func() error {
			if got := kam.contacts("carol"); len(got) != 1 || !strings.Contains(got[0], fmt.Sprintf("@127.0.0.1:%d", port)) {
				return fmt.Errorf("Kamailio has %q, want one Contact, of %s", got, office)
			}
			w, _ := l.where(office, "carol@acme.example")
			if w.At != office || len(w.Phones) != 1 {
				return fmt.Errorf("where says %+v", w)
			}
			return nil
		})
		talk(t, "acme -> carol at "+office, bob, carol, "sip:carol@acme.example", false)
		talk(t, "carol at "+office+" -> acme", carol, bob, "sip:bob@acme.example", true)
		talk(t, "north -> carol at "+office, alice, carol, "sip:carol@acme.example", true)
		talk(t, "carol at "+office+" -> north", carol, alice, "sip:1001@north.example", false)
		talk(t, "south -> carol at "+office, sue, carol, "sip:carol@acme.example", false)
		talk(t, "carol at "+office+" -> south", carol, sue, "sip:2001@south.example", false)
		talk(t, "carol at "+office+" -> another of acme's at north", carol, dave, "sip:dave@acme.example", false)
	}
	at("north", 15070)
	carol.kill()
	carol.accounts[0].proxy = l.proxy("south")
	carol.start().registered()
	at("south", 15071)
	forgotten(t, filepath.Join(l.state, "north"), "carol@acme.example", "north")

	carol.kill()
	carol.accounts[0].proxy = acmeAddr + ":5060"
	carol.start().registered()
	talk(t, "acme -> carol, just home", bob, carol, "sip:carol@acme.example", false)
	eventually(t, 70*time.Second, "south has forgotten carol", func() error {
		if got := kam.contacts("carol"); len(got) != 1 || strings.Contains(got[0], ":15071") {
			return fmt.Errorf("Kamailio has %q", got)
		}
		if w, _ := l.where("north", "carol@acme.example"); w.At != "" || len(w.Phones) > 0 {
			return fmt.Errorf("north says %+v", w)
		}
		return nil
	})
	talk(t, "north -> carol at home", alice, carol, "sip:carol@acme.example", false)
	talk(t, "carol at home -> north's visitor", carol, dave, "sip:dave@acme.example", false)

	for _, office := range []string{"north", "south"} {
		for _, r := range l.records(office) {
			if strings.HasSuffix(r.User, "@acme.example") && (r.Home != office || !r.Roaming) {
				t.Errorf("record %+v, want it to stay at %s", r, office)
			}
		}
	}
}

// TestKamailioFront: a Kamailio between a phone and its office relays all that the phone says, REGISTERs with Path. The
// phone is called and calls through it, with sound, also by who has never heard of it, and after the office was started again.
func TestKamailioFront(t *testing.T) {
	const addr, port = "127.0.0.8", 15072
	cfg, err := os.ReadFile("testdata/front.cfg")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "front.cfg")
	cfg = []byte(strings.NewReplacer("OFFICE_IP", "127.0.0.1", "OFFICE_PORT", fmt.Sprint(port)).Replace(string(cfg)))
	if err := os.WriteFile(file, cfg, 0o600); err != nil {
		t.Fatal(err)
	}
	startKamailio(t, addr, "-f", file)
	l := startThree(t, func(office, y string) string {
		if office != "north" {
			return y
		}
		y = strings.Replace(y, "probe: 0s", "probe: 10s", 1)
		return strings.Replace(y, "\npartners:\n", fmt.Sprintf("\npartners:\n  - {office: edge, foreign: {listen: 127.0.0.1:%d, sources: [%s], front: true}}\n", port, addr), 1)
	})
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", addr+":5060")).start().registered()
	ann := newBaresip(t, 550, demoAccount("1003", "north.example", addr+":5060")).start().registered()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", l.proxy("north"))).start().registered()
	sue := newBaresip(t, 1000, demoAccount("2001", "south.example", l.proxy("south"))).start().registered()
	all := func() {
		t.Helper()
		talk(t, "bob -> alice behind the front", bob, alice, "sip:1001@north.example", false)
		talk(t, "alice behind the front -> bob", alice, bob, "sip:1002@north.example", true)
		talk(t, "alice -> ann, both behind it", alice, ann, "sip:1003@north.example", true)
		talk(t, "south -> alice behind the front", sue, alice, "sip:1001@north.example", true)
		talk(t, "alice behind the front -> south", alice, sue, "sip:2001@south.example", false)
	}
	all()
	l.process["north"].kill()
	l.serve("north")
	l.process["north"].ready(l.http("north"))
	talk(t, "bob -> alice, north was started again", bob, alice, "sip:1001@north.example", false)
	ann.kill()
	eventually(t, 60*time.Second, "north notices that ann is gone, and not alice", func() error { // 10 s, and a transaction of 32 s
		if w, _ := l.where("north", "1003"); w.At != "" {
			return fmt.Errorf("ann is at %q", w.At)
		}
		return nil
	})
	if w, _ := l.where("north", "1001"); w.At != "north" {
		t.Errorf("alice is at %q, want north", w.At)
	}
	talk(t, "bob -> alice, ann is gone", bob, alice, "sip:1001@north.example", false)
}
