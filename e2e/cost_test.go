//go:build endpoints

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// monitor is what a real Redis is asked, as it tells itself (MONITOR): who asks, and the command. What its scripts do inside does not count.
type monitor struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func watchRedis(t *testing.T, port string) *monitor {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	m, ended := &monitor{}, make(chan struct{})
	t.Cleanup(func() { c.Close(); <-ended })
	fmt.Fprint(c, "MONITOR\r\n")
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(c); s.Scan(); {
			m.mu.Lock()
			m.lines = append(m.lines, s.Text())
			m.mu.Unlock()
		}
	}()
	return m
}

// about is the commands since the last call that name user 1001 of north, or a number of it.
func (m *monitor) about() (commands []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.lines {
		_, command, found := strings.Cut(line, "] ")
		if found && !strings.Contains(line, " lua]") && (strings.Contains(line, "1001@north.example") || strings.Contains(line, "+15550001001")) {
			commands = append(commands, fmt.Sprintf("%.90s", command))
		}
	}
	m.lines = nil
	return commands
}

// tlsRequests is how many requests the offices have sent to each other; their phones speak UDP.
func tlsRequests(t *testing.T) (n int) {
	t.Helper()
	sent := regexp.MustCompile(`(?m)^siproam_sip_requests_total\{([^}]*)\} (\d+)$`)
	for _, at := range officeHTTP {
		res, err := http.Get("http://" + at + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		bufio.NewReader(res.Body).WriteTo(&b)
		res.Body.Close()
		for _, m := range sent.FindAllStringSubmatch(b.String(), -1) {
			if strings.Contains(m[1], `direction="out"`) && strings.Contains(m[1], `transport="TLS"`) && !strings.Contains(m[1], `method="OPTIONS"`) {
				v, _ := strconv.Atoi(m[2])
				n += v
			}
		}
	}
	return n
}

// TestRoundTripsAndCommands counts, between three processes and a real Redis, what a move and a visitor's refresh cost: requests between
// offices, but for OPTIONS (cards, which are good for 5 minutes, and the hint of a former office, one at most), and commands to Redis.
func TestRoundTripsAndCommands(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			if strict {
				strictOffices(t)
			} else {
				redisServer(t, "6391")
				startOffices(t, "6391")
			}
			redis := watchRedis(t, "6391")
			seq, id := 0, token()
			phone := func(at string) *agent {
				a := newAgent(t, "udp", officeSIP[at], "1001@north.example")
				a.id, a.seq = id, seq+10
				a.instance = "00000000-0000-4000-8000-000000001001"
				return a
			}
			cost := func(name string, least, requests, commands int, fn func()) {
				t.Helper()
				time.Sleep(500 * time.Millisecond)
				redis.about()
				before := tlsRequests(t)
				fn()
				time.Sleep(500 * time.Millisecond)
				sent, asked := tlsRequests(t)-before, redis.about()
				t.Logf("%s: %d round trips between offices, %d commands\n%s", name, sent, len(asked), strings.Join(asked, "\n"))
				if sent < least || sent > requests || len(asked) > commands {
					t.Errorf("%s: %d round trips and %d commands, want %d to %d and at most %d", name, sent, len(asked), least, requests, commands)
				}
			}
			move := func(at string) *agent {
				a := phone(at)
				if res := a.register("Contact: "+a.contact(""), "Expires: 300"); res.status() != 200 {
					t.Fatalf("at %s: got %s", at, res.first())
				}
				seq = a.seq
				return a
			}
			time.Sleep(3 * time.Second) // offices that start make each other forget cards
			for _, at := range []string{"north", "south", "west", "north"} {
				move(at)
			}
			var a *agent
			cost("home to visited", 3, 4, 3, func() { a = move("south") })
			for n := range 4 {
				time.Sleep(3 * time.Second)
				cost(fmt.Sprintf("refresh %d of a visitor", n+1), 1, 1, 0, func() { a.online() })
			}
			seq = a.seq
			cost("visited to visited", 4, 6, 5, func() { a = move("west") }) // and one OPTIONS
			cost("visited to home", 1, 2, 3, func() { move("north") })
		})
	}
}
