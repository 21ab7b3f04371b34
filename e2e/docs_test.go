//go:build endpoints

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// example is one command of a page and what the page says that it prints.
type example struct {
	line int
	command,
	prints string
}

// examples reads "$ command" and what follows it from the fenced blocks of a page.
func examples(t *testing.T, page string) (all []example) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	fenced := false
	for i, line := range strings.Split(string(text), "\n") {
		command, is := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced && is:
			all = append(all, example{line: i + 1, command: command})
		case fenced && len(all) > 0:
			all[len(all)-1].prints += line + "\n"
		}
	}
	return all
}

// varies is what differs from run to run: epochs, times, numbers, ids, ports.
var varies = []struct {
	found *regexp.Regexp
	mask  string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`), "TIME"},
	{regexp.MustCompile(`urn:uuid:[0-9a-f-]{36}`), "DEVICE"},
	{regexp.MustCompile(`\b\d{13}-\d+`), "ENTRY"},
	{regexp.MustCompile(`"[\w-]{86}"`), "SIG"},
	{regexp.MustCompile(`\b\d{16}\b`), "EPOCH"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "NODE"},
	{regexp.MustCompile(`\(integer\) \d{4,}`), "(integer) MANY"},
}

func masked(s string) string {
	for _, v := range varies {
		s = v.found.ReplaceAllString(s, v.mask)
	}
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimRight(line, " \r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// shell runs one command line as a person types it, redis-cli as on a terminal.
func shell(t *testing.T, dir, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", strings.ReplaceAll(line, "redis-cli ", "redis-cli --no-raw "))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestRedisDoc runs every redis-cli line of docs/redis.md beside an up in which alice of north sits in south, and
// wants the very fields that the page shows.
func TestRedisDoc(t *testing.T) {
	state := filepath.Join(t.TempDir(), "up")
	start(t, "up", "--state", state).ready(upHTTP)
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", northProxy)).start().registered()
	move := func(proxy, office string) {
		t.Helper()
		alice.kill()
		alice.accounts[0].proxy = proxy
		alice.start().registered()
		located(t, state, "1001", office, 2*time.Second)
	}
	move(southProxy, "south")
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start().registered()
	talk(t, "a record for the ledger", bob, alice, "sip:1001@north.example", false)
	recorded(t, state, "1001", 1)

	all := examples(t, "../docs/redis.md")
	if len(all) < 15 {
		t.Fatalf("got %d examples, want those of every key", len(all))
	}
	for _, e := range all {
		if !strings.Contains(e.command, "redis-cli -p 6390 ") {
			continue
		}
		run := e.command
		var got string
		var err error
		if strings.Contains(run, "subscribe") {
			heard := make(chan string, 1)
			go func() { out, _ := shell(t, ".", "timeout 6 "+run); heard <- out }()
			time.Sleep(time.Second) // until it listens
			move(westProxy, "west")
			move(southProxy, "south")
			got = <-heard
		} else {
			got, err = shell(t, ".", run)
		}
		if err != nil || strings.Contains(got, "(error)") || strings.HasPrefix(got, "ERR") {
			t.Errorf("docs/redis.md:%d: %s: %v\n%s", e.line, run, err, got)
			continue
		}
		if want := masked(e.prints); masked(got) != want {
			t.Errorf("docs/redis.md:%d: %s\ngot\n%s\nwant\n%s", e.line, run, masked(got)+"\n"+got, want)
		}
	}

	// The page says what happens when all is lost.
	redisCLI(t, upStore, "flushall")
	eventually(t, time.Minute, "all keys are back", func() error {
		for _, key := range []string{"roam:loc:{1001@north.example}", "roam:id:{+15550001001}", "roam:ext:{1001}", "roam:office:{south}"} {
			if strings.TrimSpace(redisCLI(t, upStore, "exists", key)) != "1" {
				return fmt.Errorf("%s is missing", key)
			}
		}
		return nil
	})
}

// inReadme is the lines of the README's indented blocks under a heading, without their comments.
func inReadme(t *testing.T, heading string) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("README.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if command, is := strings.CutPrefix(line, "    "); is {
			command, _, _ = strings.Cut(command, "  #")
			all = append(all, strings.TrimSpace(command))
		}
	}
	if len(all) == 0 {
		t.Fatalf("README.md: %q has no commands", heading)
	}
	return all
}

// TestReadmeLooksInside runs the README's commands beside an up started as it says, with alice in south.
func TestReadmeLooksInside(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	start(t, "up").ready(upHTTP)
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", southProxy)).start().registered()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start().registered()
	talk(t, "a call", bob, alice, "sip:1001@north.example", false)
	for _, line := range inReadme(t, "Look inside") {
		var out string
		var err error
		switch {
		case strings.HasPrefix(line, "http://"):
			err = page(line)
		case strings.Contains(line, " trace "):
			shown := make(chan string, 1)
			go func() {
				out, _ := shell(t, ".", "timeout -s INT 4 "+strings.ReplaceAll(line, "go run .", build(t)))
				shown <- out
			}()
			time.Sleep(time.Second) // until it looks
			alice.kill()
			alice.start().registered()
			if out = <-shown; !strings.Contains(out, "REGISTER") || strings.Contains(out, "Digest") {
				err = fmt.Errorf("want a ladder with REGISTER")
			}
		default:
			out, err = shell(t, ".", strings.ReplaceAll(line, "go run .", build(t)))
		}
		if err != nil || strings.TrimSpace(out) == "" && !strings.HasPrefix(line, "http") {
			t.Errorf("README.md: %s: %v\n%s", line, err, out)
		}
		t.Logf("%s\n%s", line, tail(out, 400))
	}
}

// TestReadmeBareNumber is a phone that knows only a number and the address of the office it is in.
func TestReadmeBareNumber(t *testing.T) {
	state := filepath.Join(t.TempDir(), "up")
	start(t, "up", "--state", state).ready(upHTTP)
	for _, user := range []string{"+15550001001", "1002"} {
		newBaresip(t, 440, account{aor: "sip:" + user + "@" + southProxy, login: user, password: "demo-" + user[max(0, len(user)-4):], proxy: southProxy}).start().registered()
		located(t, state, user[max(0, len(user)-4):], "south", 2*time.Second)
	}
}

// TestUpLan is up --lan: random passwords, kept in accounts.txt, and phones at the machine's address.
func TestUpLan(t *testing.T) {
	state := filepath.Join(t.TempDir(), "up")
	start(t, "up", "--lan", "--state", state).ready(upHTTP)
	password := accountsFile(t, state)["1001"]
	if len(password) < 12 || strings.HasPrefix(password, "demo") {
		t.Errorf("got password %q, want a random one", password)
	}
	b := newBaresip(t, 440, account{aor: "sip:1001@north.example", login: "1001", password: password, proxy: "198.51.100.1:5160"})
	b.iface, b.listen = "", ""
	b.start().registered()
	located(t, state, "1001", "south", 2*time.Second)
}

// page wants 200 from url and from what the README says is beside it.
func page(url string) error {
	for _, path := range []string{"", "/metrics", "/healthz", "/readyz"} {
		r, err := http.Get(url + path)
		if err != nil {
			return err
		}
		r.Body.Close()
		if r.StatusCode != 200 {
			return fmt.Errorf("%s%s: %s", url, path, r.Status)
		}
	}
	return nil
}

// TestReadmeRunsItForReal is the README's way to one office of its own: init, check, serve, a user, and a phone that
// logs in with the password that was made.
func TestReadmeRunsItForReal(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(build(t), filepath.Join(dir, "siproam")); err != nil {
		t.Fatal(err)
	}
	var password string
	for _, line := range inReadme(t, "Run it for real") {
		switch {
		case line == "make build":
			continue // what is tested was built
		case strings.Contains(line, " serve "):
			args := strings.Fields(line)[1:]
			for i, a := range args {
				if a == "office.yaml" || a == "state" {
					args[i] = filepath.Join(dir, a)
				}
			}
			start(t, args...).ready(upHTTP)
			continue
		}
		out, err := shell(t, dir, line)
		if err != nil {
			t.Fatalf("README.md: %s: %v\n%s", line, err, out)
		}
		if strings.HasPrefix(line, "./siproam init") {
			want, err := os.ReadFile("../office.example.yaml")
			if got, _ := os.ReadFile(filepath.Join(dir, "office.yaml")); err != nil || string(got) != string(want) {
				t.Errorf("init printed something else than office.example.yaml: %v", err)
			}
		}
		if strings.Contains(line, "--generate") {
			f := strings.Fields(out)
			password = f[len(f)-1]
		}
	}
	newBaresip(t, 440, account{aor: "sip:2001@south.example", login: "2001", password: password, proxy: northProxy}).start().registered()
}

// TestSIPpReadme runs testdata/sipp/README.md.
func TestSIPpReadme(t *testing.T) {
	start(t, "up", "--state", filepath.Join(t.TempDir(), "up")).ready(upHTTP)
	text, err := os.ReadFile("../testdata/sipp/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var answering []*exec.Cmd
	n := 0
	for line := range strings.Lines(string(text)) {
		line, is := strings.CutPrefix(line, "    sipp ")
		if !is {
			continue
		}
		n++
		cmd := sipp(t, strings.Fields(line)...)
		if strings.Contains(line, "uas.xml") { // in a terminal of its own
			answering = append(answering, cmd)
			continue
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("sipp %s: %v", line, err)
		}
	}
	for _, cmd := range answering {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if n < 4 {
		t.Errorf("got %d lines of SIPp, want 4", n)
	}
}
