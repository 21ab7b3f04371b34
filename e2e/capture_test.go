//go:build endpoints

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/phone"
)

// officeAt is whose port it is.
var officeAt = map[string]string{"5060": "north", "5160": "south", "5260": "west", "5067": "north", "5167": "south", "5267": "west"}

// proxyOf is where an office's phones come.
var proxyOf = map[string]string{"north": northProxy, "south": southProxy, "west": westProxy}

// lull is when what follows a registration or a call is over too; a running capture cannot be asked.
const lull = 300 * time.Millisecond

// TestFlowsCaptured plays the flows of testdata/flows with three processes and reads what went over the wire with tshark,
// the partner links with the TLS keys that the offices wrote down: between each two parties the same messages, in the same order.
func TestFlowsCaptured(t *testing.T) {
	for name, play := range map[string]func(*testing.T) (then func()){
		"home_to_visited":      moving("north", "south"),
		"visited_to_home":      moving("south", "north"),
		"visited_to_visited":   moving("south", "west"),
		"call_to_visited":      calling("1001"),
		"call_between_offices": calling("2001"),
		"refused_login": func(t *testing.T) func() {
			return func() {
				var no *phone.Refused
				if _, err := plugIn(t, "1001", "south", "wrong"); !errors.As(err, &no) || no.Code != 401 {
					t.Errorf("got %v, want 401", err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			keys := filepath.Join(t.TempDir(), "keys")
			t.Setenv("SSLKEYLOGFILE", keys)
			redisServer(t, "6391")
			c := startCapture(t) // first: it must see the handshakes that it is to decrypt
			startOffices(t, "6391").acquainted()
			then := play(t)
			time.Sleep(lull)
			from := time.Now()
			then()
			time.Sleep(lull)
			c.compare(c.read(keys, from), filepath.Join("..", "testdata", "flows", name+".txt"))
		})
	}
}

// moving has 1001 registered at one office; then it registers at another.
func moving(from, to string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		p, err := plugIn(t, "1001", from, "")
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := p.Move(soon(t), proxyOf[to]); err != nil {
				t.Fatalf("1001 moves to %s: %v", to, err)
			}
		}
	}
}

// calling has callee registered at south and 1002 at north; then 1002 calls and hangs up.
func calling(callee string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		_, err := plugIn(t, callee, "south", "")
		bob, err2 := plugIn(t, "1002", "north", "")
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return func() {
			call, err := bob.Call(soon(t), "sip:"+callee+"@"+homeOf(callee))
			if err == nil {
				err = call.Hangup(soon(t))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func homeOf(number string) string {
	return map[byte]string{'1': "north", '2': "south", '3': "west"}[number[0]] + ".example"
}

func soon(t *testing.T) context.Context {
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(stop)
	return ctx
}

// plugIn runs a phone until the test ends and gives how its registration ended.
func plugIn(t *testing.T, number, at, password string) (*phone.Phone, error) {
	t.Helper()
	p, err := phone.New(phone.Config{AOR: "sip:" + number + "@" + homeOf(number), Proxy: proxyOf[at], Password: cmp.Or(password, "demo-"+number),
		Answer: phone.Talk, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() { defer close(gone); p.Run(ctx) }()
	t.Cleanup(func() { stop(); <-gone })
	return p, p.Registered(soon(t))
}

// capture is a tshark that writes down what goes over an interface.
type capture struct {
	t    *testing.T
	cmd  *exec.Cmd
	file string
}

func startCapture(t *testing.T) *capture {
	t.Helper()
	return capturing(t, "lo", "udp portrange 5060-5260 or tcp portrange 5060-5267")
}

// packet is a frame as tshark's PDML has it.
type packet struct {
	Protos []proto `xml:"proto"`
}

type proto struct {
	Name   string  `xml:"name,attr"`
	Fields []field `xml:"field"`
}

type field struct {
	Name   string  `xml:"name,attr"`
	Show   string  `xml:"show,attr"`
	Fields []field `xml:"field"`
}

// find is what the first field of that name shows.
func find(fields []field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Show
		}
		if v := find(f.Fields, name); v != "" {
			return v
		}
	}
	return ""
}

// said is one SIP message between two parties.
type said struct {
	from, to string // addresses: port of a listener, or transport and port
	stream   string // TCP stream; "" for UDP
	via      string // port in the topmost Via: of who sent the request
	user     string // a phone's REGISTER: whose
	text     string // "REGISTER", "401 REGISTER"
	key      string // of a message; a retransmission has the same
	late     bool   // after from of read
}

// read ends the capture and gives what was said after from, in order, once each.
func (c *capture) read(keys string, from time.Time) (lines []string) {
	c.t.Helper()
	c.end()
	args := []string{"-r", c.file, "-Y", "sip", "-T", "pdml", "-o", "tls.keylog_file:" + keys}
	for port := range officeAt {
		args = append(args, "-d", "udp.port=="+port+",sip", "-d", "tls.port=="+port+",sip", "-d", "tcp.port=="+port+",tls")
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		c.t.Fatalf("tshark -r: %v", err)
	}
	var all []said
	for d := xml.NewDecoder(bytes.NewReader(out)); ; {
		token, err := d.Token()
		if err != nil {
			break
		}
		if s, ok := token.(xml.StartElement); ok && s.Name.Local == "packet" {
			var p packet
			if err := d.DecodeElement(&p, &s); err != nil {
				c.t.Fatal(err)
			}
			all = append(all, messages(p, from)...)
		}
	}
	who := parties(all)
	seen := map[string]bool{}
	for _, s := range all {
		if again := seen[s.key]; again || !s.late {
			continue
		}
		seen[s.key] = true
		lines = append(lines, who(s.from, s.stream)+" > "+who(s.to, s.stream)+" "+s.text)
	}
	return lines
}

// messages is the SIP messages that ended in p.
func messages(p packet, from time.Time) (all []said) {
	var s said
	for _, layer := range p.Protos {
		switch layer.Name {
		case "frame":
			at, _ := strconv.ParseFloat(find(layer.Fields, "frame.time_epoch"), 64)
			s.late = at > float64(from.UnixMicro())/1e6
		case "udp", "tcp":
			s.from, s.to = find(layer.Fields, layer.Name+".srcport"), find(layer.Fields, layer.Name+".dstport")
			s.stream = find(layer.Fields, "tcp.stream")
		case "sip":
			m := s
			method, status := find(layer.Fields, "sip.CSeq.method"), find(layer.Fields, "sip.Status-Code")
			if m.text = status + " " + method; status == "" {
				m.text = find(layer.Fields, "sip.Method")
				m.via = find(layer.Fields, "sip.Via.sent-by.port")
				if m.text == "REGISTER" {
					m.user = find(layer.Fields, "sip.to.user")
				}
			}
			m.key = m.from + m.to + find(layer.Fields, "sip.Via.branch") + m.text
			all = append(all, m)
		}
	}
	return all
}

// parties tells who has a port: an office's listener, the office that opened a connection (its requests tell), or a phone.
func parties(all []said) (who func(port, stream string) string) {
	known := map[string]string{}
	for _, s := range all {
		switch {
		case s.stream == "" && s.user != "":
			known[s.from] = s.user
		case s.stream != "" && officeAt[s.via] != "" && officeAt[s.from] == "":
			known[s.stream+":"+s.from] = officeAt[s.via]
		}
	}
	return func(port, stream string) string {
		return cmp.Or(officeAt[port], known[stream+":"+port], known[port], "port "+port)
	}
}

// compare holds got against a file of testdata/flows, pair by pair.
func (c *capture) compare(got []string, path string) {
	c.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) < 4 || w[0] == "#" {
			continue
		}
		if w[3][0] < '1' || w[3][0] > '6' {
			w = w[:4]
		} else {
			w = w[:5]
		}
		want = append(want, strings.Join(w, " "))
	}
	byPair := func(lines []string) map[string][]string {
		pairs := map[string][]string{}
		for _, l := range lines {
			w := strings.Fields(l)
			pair := min(w[0], w[2]) + " and " + max(w[0], w[2])
			pairs[pair] = append(pairs[pair], l)
		}
		return pairs
	}
	gots, wants := byPair(got), byPair(want)
	for pair := range gots {
		if wants[pair] == nil {
			c.t.Errorf("between %s: got %q, want nothing", pair, gots[pair])
		}
	}
	for pair, want := range wants {
		if !slices.Equal(gots[pair], want) {
			c.t.Errorf("between %s:\n got %q\nwant %q", pair, gots[pair], want)
		}
	}
}
