package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/routesrv"
)

// trio is three offices for one test: by up in one process, or by serve in three.
type trio struct {
	t       *testing.T
	base    int
	state   string              // where commands find them; of serve: the directory of the three
	process map[string]*process // by office; of up: one
	split   bool
}

var labOrder = map[string]int{"north": 0, "south": 1, "west": 2}

// startUp runs up on free ports.
func startUp(t *testing.T, more ...string) *trio {
	t.Helper()
	l := &trio{t: t, base: freeBase(t), state: filepath.Join(t.TempDir(), "up"), process: map[string]*process{}}
	p := start(t, append([]string{"up", "--state", l.state, "--port-base", fmt.Sprint(l.base), "--log-level", "info", "--log-json"}, more...)...)
	p.ready(fmt.Sprintf("127.0.0.1:%d", l.base+300))
	for o := range labOrder {
		l.process[o] = p
	}
	return l
}

// startThree runs three offices as processes of their own on free ports, against a routing store in this process;
// change edits an office's file before it starts.
func startThree(t *testing.T, change func(office, yaml string) string) *trio {
	t.Helper()
	l := &trio{t: t, base: freeBase(t), state: filepath.Join(t.TempDir(), "three"), process: map[string]*process{}, split: true}
	store, err := routesrv.StartEmbedded(fmt.Sprintf("127.0.0.1:%d", l.base+400), "")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); store.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	if out, errs, code := run(t, "", "up", "--write", l.state, "--port-base", fmt.Sprint(l.base), "--redis", fmt.Sprintf("redis://127.0.0.1:%d/0", l.base+400)); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	for o := range labOrder {
		l.edit(o, func(y string) string {
			y = strings.Replace(y, "source: "+filepath.Join(l.state, o, "users.csv"), "source: state", 1)
			if change != nil {
				y = change(o, y)
			}
			return y
		})
		l.serve(o)
	}
	for o := range labOrder {
		l.process[o].ready(l.http(o))
		if _, errs, code := run(t, "", append([]string{"user", "import", filepath.Join(l.state, o, "users.csv")}, l.at(o)...)...); code != 0 {
			t.Fatalf("user import: exit %d %s", code, errs)
		}
	}
	return l
}

// edit changes an office's file.
func (l *trio) edit(office string, change func(string) string) {
	l.t.Helper()
	path := l.file(office)
	b, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(b))), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *trio) file(office string) string { return filepath.Join(l.state, office, "office.yaml") }

func (l *trio) serve(office string) { l.process[office] = start(l.t, "serve", "-c", l.file(office)) }

func (l *trio) http(office string) string {
	return fmt.Sprintf("127.0.0.1:%d", l.base+300+labOrder[office])
}

// proxy is where an office's phones find it.
func (l *trio) proxy(office string) string {
	return fmt.Sprintf("127.0.0.1:%d", l.base+100*labOrder[office])
}

// at is the arguments that make a command ask an office.
func (l *trio) at(office string) []string {
	if l.split {
		return []string{"--state", filepath.Join(l.state, office)}
	}
	return []string{"--state", l.state, "--office", office}
}

// agent is user at an office, over UDP.
func (l *trio) agent(office, user string) *agent {
	l.t.Helper()
	return newAgent(l.t, "udp", l.proxy(office), user)
}

// whereabouts is what `where -o json` says.
type whereabouts struct {
	User, At, From string
	Move           int
	Phones         []struct{ Office, Contact, Addr, Transport, Device string }
	Source         string
}

// where asks an office where user is.
func (l *trio) where(office, user string) (w whereabouts, code int) {
	l.t.Helper()
	out, errs, code := run(l.t, "", append([]string{"where", user, "-o", "json"}, l.at(office)...)...)
	if code != 0 && code != 3 {
		l.t.Fatalf("where %s at %s: exit %d %s", user, office, code, errs)
	}
	if err := json.Unmarshal([]byte(out), &w); err != nil {
		l.t.Fatalf("where: %v in %s", err, out)
	}
	return w, code
}

// is waits until every office says that user is at office; "" is offline.
func (l *trio) is(user, office string) {
	l.t.Helper()
	for o := range labOrder {
		eventually(l.t, 3*time.Second, fmt.Sprintf("%s says that %s is at %q", o, user, office), func() error {
			if w, code := l.where(o, user); w.At != office || (code == 3) != (office == "") {
				return fmt.Errorf("at %q, exit %d", w.At, code)
			}
			return nil
		})
	}
}

// entry is a charging record.
type entry struct {
	ID, ICID, Office, Home, User, Role, From, To, Dialled, Kind, By, Why, Codec string
	Roaming                                                                     bool
	Status, Q850                                                                int
	Start, Answered, End                                                        time.Time
	Media                                                                       [2]struct{ Packets, Lost uint64 }
}

// String is what METHOD's table compares.
func (r entry) String() string {
	return fmt.Sprintf("%s %s of %s: %s, %d", r.Office, r.Role, r.Home, r.Kind, r.Status)
}

// records is the ledger of an office, newest first.
func (l *trio) records(office string) (all []entry) {
	l.t.Helper()
	ask(l.t, &all, append([]string{"cdr"}, l.at(office)...)...)
	return all
}

// logged is the log lines of an office that are about event.
func (l *trio) logged(office, event string) (lines []string) {
	for _, line := range strings.Split(l.process[office].out.String(), "\n") {
		if strings.Contains(line, `"event":"`+event+`"`) && strings.Contains(line, `"office":"`+office+`"`) {
			lines = append(lines, line)
		}
	}
	return lines
}
