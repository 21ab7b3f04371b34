package office_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
)

// teller stands between offices and the routing store and notes the commands that go there.
type teller struct {
	mu       sync.Mutex // guards commands
	commands []string
}

// between listens on loopback until the test ends, and passes everything on to the store at addr.
func (c *teller) between(t testing.TB, addr string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			context.AfterFunc(ctx, func() { in.Close(); out.Close() })
			wg.Go(func() { io.Copy(in, out); in.Close() })
			wg.Go(func() { c.read(io.TeeReader(in, out)); out.Close() })
		}
	})
	return l.Addr().String()
}

// read notes each command of one connection (RESP arrays of bulk strings).
func (c *teller) read(from io.Reader) {
	r := bufio.NewReader(from)
	number := func() (n int, err error) {
		line, err := r.ReadString('\n')
		if err == nil && len(line) > 3 {
			n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
		}
		return n, err
	}
	for {
		n, err := number()
		words := make([]string, 0, n)
		for range n {
			size, bad := number()
			text := make([]byte, size+2)
			if _, err = io.ReadFull(r, text); bad != nil || err != nil {
				return
			}
			words = append(words, string(text[:size]))
		}
		if err != nil {
			return
		}
		c.mu.Lock()
		c.commands = append(c.commands, strings.Join(words, " "))
		c.mu.Unlock()
	}
}

// about is the commands that name one of words, and forgets all.
func (c *teller) about(words ...string) (some []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, command := range c.commands {
		for _, w := range words {
			if strings.Contains(command, w) {
				name, rest, _ := strings.Cut(command, " ")
				if strings.EqualFold(name, "evalsha") {
					_, rest, _ = strings.Cut(rest, " ")
				}
				some = append(some, fmt.Sprintf("%s %.60s", strings.ToUpper(name), rest))
				break
			}
		}
	}
	c.commands = nil
	return some
}

// requests is the requests between offices that e heard.
func (e *ear) requests() (all []string) {
	for _, line := range e.settled() {
		w := strings.Fields(line)
		if e.isOffice(w[0]) && e.isOffice(w[2]) && w[3] != "" && (w[3][0] < '0' || w[3][0] > '9') {
			all = append(all, strings.Join(w[:4], " "))
		}
	}
	return all
}

func (e *ear) isOffice(name string) bool {
	for _, o := range officeNames {
		if o == name {
			return true
		}
	}
	return false
}

// TestWhatAMoveCosts holds what the offices say to each other, and to the routing store, when a phone moves, against the marks:
// home to visited at most 4 round trips and 3 commands, visited to visited 7 and 5, with the caches of names and cards warm.
func TestWhatAMoveCosts(t *testing.T) {
	c := &teller{}
	store := ""
	x := startThree(t, func(cfg *office.Config) {
		if store == "" {
			store = c.between(t, strings.TrimSuffix(strings.TrimPrefix(cfg.Routes.Redis, "redis://"), "/0"))
		}
		cfg.Routes.Redis = "redis://" + store + "/0"
	})
	e := x.listen()
	p := at(t, x, "1001", "north")
	move := func(to string) {
		t.Helper()
		if err := p.Move(within(t, 10*time.Second), x.addr(to, "udp")); err != nil {
			t.Fatalf("to %s: %v", to, err)
		}
		e.settled()
	}
	time.Sleep(3 * time.Second)                             // offices that start make each other forget cards
	for _, to := range []string{"south", "west", "north"} { // caches are warm now
		move(to)
	}
	for _, m := range []struct {
		from, to           string
		requests, commands int
	}{{"north", "south", 4, 3}, {"south", "west", 7, 5}, {"west", "north", 2, 3}} {
		time.Sleep(2500 * time.Millisecond) // locations are remembered for 2 s, names for 10: only the latter are warm
		e.clear()
		c.about()
		move(m.to)
		requests := e.requests()
		time.Sleep(2 * quiet) // the last report may be on its way
		commands := c.about("1001@north.example", "+15550001001")
		t.Logf("%s to %s: %d requests between offices, %d commands\n%s\n%s", m.from, m.to, len(requests), len(commands), strings.Join(requests, "\n"), strings.Join(commands, "\n"))
		if len(requests) > m.requests || len(commands) > m.commands || len(requests) == 0 || len(commands) == 0 {
			t.Errorf("%s to %s: %d requests and %d commands, want at most %d and %d", m.from, m.to, len(requests), len(commands), m.requests, m.commands)
		}
	}
}

// TestHomeCallerGoesStraight (M15): a caller at home reaches a user who is away in one hop, by what home has recorded: one INVITE between
// offices, and the routing store is not asked.
func TestHomeCallerGoesStraight(t *testing.T) {
	c := &teller{}
	x := startThree(t, func(cfg *office.Config) {
		if cfg.Office == "north" {
			cfg.Routes.Redis = "redis://" + c.between(t, strings.TrimSuffix(strings.TrimPrefix(cfg.Routes.Redis, "redis://"), "/0")) + "/0"
		}
	})
	e := x.listen()
	at(t, x, "1001", "south")
	bob := at(t, x, "1002", "north")
	time.Sleep(2500 * time.Millisecond) // what the store was heard to say is not fresh any more
	e.settled()
	e.clear()
	c.about()
	call, err := bob.Call(within(t, 10*time.Second), "sip:1001@north.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Hangup(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	got := e.requests()
	for i, want := range []string{"north > south INVITE", "north > south ACK", "north > south BYE"} {
		if len(got) != 3 || got[i] != want {
			t.Fatalf("got %q between offices, want INVITE, ACK and BYE from north to south", got)
		}
	}
	for _, command := range c.about("1001@north.example", "+15550001001") {
		if !strings.Contains(command, "roam:cdr") {
			t.Errorf("the routing store was asked: %s", command)
		}
	}
}
