package office_test

import (
	"bufio"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip"
)

// wire is one raw connection to a listener: what a test writes goes out as it is.
type wire struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	n    int
}

func newWire(t testing.TB, conn net.Conn, err error) *wire {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &wire{t: t, conn: conn, r: bufio.NewReaderSize(conn, 65535)}
}

// dial is a connection to the phone listener of an office.
func (x *three) dial(network, office string) *wire {
	c, err := net.Dial(network, x.addr(office, network))
	return newWire(x.t, c, err)
}

// dialAs is a connection to the partner listener of one office with the certificate of another.
func (x *three) dialAs(office, as string) *wire {
	x.t.Helper()
	pem, err := os.ReadFile(x.pem("ca.pem"))
	if err != nil {
		x.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(x.pem(as+".pem"), x.pem(as+".key"))
	if err != nil {
		x.t.Fatal(err)
	}
	_, addr, _ := strings.Cut(x.office(office).Config().PartnerListen, ":")
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}})
	return newWire(x.t, c, err)
}

// ask sends a request: line, then headers (one a line), then body. Via, Max-Forwards, Call-ID, CSeq, From and To are
// added where headers have none. It gives the final answer.
func (w *wire) ask(line, headers, body string) *sip.Message {
	w.t.Helper()
	w.n++
	method, _, _ := strings.Cut(line, " ")
	transport := map[string]string{"udp": "UDP", "tcp": "TCP"}[w.conn.LocalAddr().Network()]
	if _, ok := w.conn.(*tls.Conn); ok {
		transport = "TLS"
	}
	text := line + " SIP/2.0\n" + fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%p%d;rport\n", transport, w.conn.LocalAddr(), w, w.n) + headers
	for name, value := range map[string]string{"Max-Forwards": "70", "Call-ID": fmt.Sprintf("%p%d", w, w.n), "CSeq": fmt.Sprintf("%d %s", w.n, method),
		"From": fmt.Sprintf("<sip:someone@192.0.2.9>;tag=%p", w), "To": "<sip:1001@north.example>"} {
		if !strings.Contains("\n"+text, "\n"+name+":") {
			text += name + ": " + value + "\n"
		}
	}
	text += fmt.Sprintf("Content-Length: %d\n\n", len(body))
	w.write(strings.ReplaceAll(text, "\n", "\r\n") + body)
	return w.final(method)
}

// next is the next message that comes.
func (w *wire) next() *sip.Message {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var head strings.Builder
	length := 0
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			w.t.Fatalf("no answer: %v", err)
		}
		head.WriteString(line)
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(w.r, body); err != nil {
		w.t.Fatal(err)
	}
	m := &sip.Message{}
	if err := sip.Parse(append([]byte(head.String()), body...), m); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// register is a REGISTER of user n with its password, and the headers given.
func (w *wire) register(n, headers string) *sip.Message {
	w.t.Helper()
	domain := officeNames[n[0]-'1'] + ".example"
	line := "REGISTER sip:" + domain
	headers += "To: <sip:" + n + "@" + domain + ">\n"
	res := w.ask(line, headers, "")
	if res.Status() != 401 {
		w.t.Fatalf("got %d without credentials, want 401", res.Status())
	}
	_, nonce, _ := strings.Cut(string(res.Value(sip.WWWAuthenticate)), `nonce="`)
	nonce, _, _ = strings.Cut(nonce, `"`)
	hash := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	answer := hash(hash(n+":"+domain+":secret-"+n) + ":" + nonce + ":00000001:c:auth:" + hash("REGISTER:sip:"+domain))
	return w.ask(line, headers+fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001, response=%q\n",
		n, domain, nonce, "sip:"+domain, answer), "")
}

// tapped collects raw messages that an office sends to its partners.
type tapped struct {
	mu  sync.Mutex // guards all
	all []*sip.Message
}

func (x *three) tapped() *tapped {
	c := &tapped{}
	for _, o := range x.house.Offices {
		x.t.Cleanup(o.Tap(func(f *sip.Flow, sent bool, b []byte) {
			m := &sip.Message{}
			if sent && sip.Parse(slices.Clone(b), m) == nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.all = append(c.all, m)
			}
		}))
	}
	return c
}

// last is the last message sent that is as wanted.
func (c *tapped) last(want func(*sip.Message) bool) (m *sip.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m = range slices.Backward(c.all) {
		if want(m) {
			return m
		}
	}
	return nil
}

// redis is one question to the routing store, past everything of ours.
func (x *three) redis(words ...string) string {
	x.t.Helper()
	c, err := net.Dial("tcp", x.store.Addr())
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(c, "$%d\r\n%s\r\n", len(w), w)
	}
	io.WriteString(c, "*1\r\n$4\r\nQUIT\r\n")
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		x.t.Fatal(err)
	}
	return string(b)
}

// state is what the routing store, the registrars and the softswitches know of 1001 and 1002.
func (x *three) state() string {
	x.t.Helper()
	var b strings.Builder
	for _, n := range []string{"1001", "1002"} {
		key := "{" + n + "@north.example}"
		b.WriteString(x.redis("HGETALL", "roam:loc:"+key) + x.redis("GET", "roam:ep:"+key))
		for _, o := range officeNames {
			w, err := x.house.Where(x.t.Context(), n, o)
			j, _ := json.Marshal(w)
			fmt.Fprintln(&b, o, err, string(j))
		}
	}
	calls, err := x.house.Calls(x.t.Context(), "")
	fmt.Fprintln(&b, calls, err)
	return b.String()
}

const claimedSDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

// TestClaimsOfPhones: what only partners may say does nothing on a phone listener, even when it is genuine. The tickets are
// home's own; on the partner listener, from the office that they were made out to, the same words are obeyed.
func TestClaimsOfPhones(t *testing.T) {
	x := startThree(t, nil)
	heard := x.tapped()
	at(t, x, "1001", "south")
	at(t, x, "1002", "north")
	message := heard.last(func(m *sip.Message) bool { return m.Method() == sip.REGISTER && m.Value(sip.RoamTicket) != nil })
	// 1001's credentials reach home from west, which never says that it took the visitor.
	word := x.dialAs("north", "west").register("1001", "P-Visited-Network-ID: west\n")
	fresh := string(word.Value(sip.RoamTicket)) // for west, newer than the one that south serves by
	if message == nil || fresh == "" || fresh == string(message.Value(sip.RoamTicket)) {
		t.Fatalf("no two tickets on the wire: %d %s %q", word.Status(), word.Reason(), fresh)
	}
	epoch := x.redis("GET", "roam:ep:{1001@north.example}")
	newer := fmt.Sprint(time.Now().Add(364 * 24 * time.Hour).UnixMicro())
	gone := `<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="partial"><registration aor="sip:1001@north.example" id="r1" state="terminated">` +
		`<contact id="c1" state="terminated" event="deactivated"><uri>sip:1001@north.example</uri></contact><location xmlns="urn:siproam:location" epoch="` + newer +
		`" office="west" softswitch="` + x.office("west").Config().URI + `" registrar="` + x.office("west").Config().URI + `"></location></registration></reginfo>`
	notify := "Event: reg\nSubscription-State: terminated;reason=noresource\nContact: <sip:someone@192.0.2.9>\nContent-Type: application/reginfo+xml\nRoam-Ticket: " + fresh + "\n"
	hint := "Accept: application/vnd.siproam.office+json\n"
	claims := "P-Asserted-Identity: <sip:1002@north.example>\nP-Charging-Vector: icid-value=mine\nRoam-Epoch: " + newer + "\nRoam-Service: cfu\n"
	called := "Contact: <sip:someone@192.0.2.9>\nContent-Type: application/sdp\n" + claims
	visit := "P-Visited-Network-ID: west;call=\"x\"\nRoam-Ticket: " + fresh + "\nContact: <sip:token@192.0.2.9>;expires=300\nFrom: <sip:1001@north.example>;tag=9\n"

	before := x.state()
	for _, network := range []string{"udp", "tcp"} {
		for _, office := range []string{"north", "south"} {
			w := x.dial(network, office)
			for name, c := range map[string]struct {
				line, headers, body string
				want                []int
			}{
				"somebody is who P-Asserted-Identity says": {"INVITE sip:1001@north.example", called, claimedSDP, []int{403}},
				"a user is who From says":                  {"INVITE sip:1002@north.example", "From: <sip:1001@north.example>;tag=1\n" + called, claimedSDP, []int{407}},
				"a registration message":                   {"REGISTER sip:north.example", visit + "Content-Type: application/vnd.siproam.office+json\n", string(message.Body()), []int{401}},
				"taking a visit back":                      {"REGISTER sip:north.example", strings.Replace(visit, "expires=300", "expires=0", 1), "", []int{401}},
				"an identity query":                        {"REGISTER sip:north.example", "P-Visited-Network-ID: west\nRoam-Digest: INVITE;uri=\"sip:1002@north.example\"\nFrom: <sip:1001@north.example>;tag=9\n", "", []int{401}},
				"a profile by ticket":                      {"REGISTER sip:north.example", "P-Visited-Network-ID: west\nRoam-Ticket: " + fresh + "\nFrom: <sip:1001@north.example>;tag=9\n", "", []int{401}},
				"a supersede":                              {"NOTIFY sip:" + x.addr(office, network), notify, gone, []int{403, 481}},
				"a visitor hint":                           {"OPTIONS sip:1001@north.example", hint, "", []int{200}},
				"an office card":                           {"OPTIONS sip:" + x.addr(office, network), hint, "", []int{200}},
			} {
				res := w.ask(c.line, c.headers, c.body)
				if !slices.Contains(c.want, res.Status()) {
					t.Errorf("%s, %s at %s: got %d %s, want %v", name, network, office, res.Status(), res.Reason(), c.want)
				}
				if len(res.Body()) > 0 || res.Value(sip.RoamTicket) != nil || res.Value(sip.RoamEpoch) != nil {
					t.Errorf("%s, %s at %s: told\n%s%s", name, network, office, res.Value(sip.RoamTicket), res.Body())
				}
			}
		}
	}
	if after := x.state(); after != before {
		t.Errorf("something changed:\n got %s\nwant %s", after, before)
	}
	if got := x.redis("GET", "roam:ep:{1001@north.example}"); got != epoch {
		t.Errorf("epoch: got %q, want %q", got, epoch)
	}

	// The same words from the office they were made out to.
	west := x.dialAs("south", "west")
	if res := west.ask("OPTIONS sip:1001@north.example", hint, ""); res.Status() != 200 || !strings.Contains(string(res.Body()), `"visitor"`) {
		t.Errorf("a hint to west: got %d %s, want where 1001 is", res.Status(), res.Body())
	}
	if res := west.ask("NOTIFY sip:"+strings.TrimPrefix(x.office("south").Config().PartnerListen, "tls:"), notify, gone); res.Status() != 200 {
		t.Errorf("a supersede from west: got %d %s, want 200", res.Status(), res.Reason())
	}
	if after := x.state(); after == before {
		t.Error("a supersede from west with home's ticket changed nothing: the tickets of this test are no good")
	}
}

// TestClaimsOfUsers: a user with a password gains no more by them than without.
func TestClaimsOfUsers(t *testing.T) {
	x := startThree(t, nil)
	heard := x.tapped()
	bob := x.phone("1002", "north", phone.Config{Answer: phone.Busy})
	if _, err := x.plug(bob); err != nil {
		t.Fatal(err)
	}
	w := x.dial("tcp", "south")
	contact := fmt.Sprintf("Contact: <sip:2003@%s;transport=tcp>\n", w.conn.LocalAddr())
	res := w.register("2003", contact+"Supported: path\nPath: <sip:evil@192.0.2.9;lr>\nP-Visited-Network-ID: west\nRoam-Ticket: x\n")
	if res.Status() != 200 || res.Value(sip.Path) != nil {
		t.Fatalf("got %d with Path %q, want 200 without", res.Status(), res.Value(sip.Path))
	}
	x.located("2003", "south")

	// Who calls is known by the flow.
	res = w.ask("INVITE sip:1002@north.example", contact+"From: <sip:2003@south.example>;tag=7\nTo: <sip:1002@north.example>\nP-Asserted-Identity: <sip:2001@south.example>\n"+
		"P-Charging-Vector: icid-value=mine\nRoam-Epoch: 1\nRoam-Service: cfu\nContent-Type: application/sdp\n", claimedSDP)
	if res.Status() != 486 {
		t.Errorf("a call to a busy phone: got %d %s", res.Status(), res.Reason())
	}
	invite := heard.last(func(m *sip.Message) bool { return m.Method() == sip.INVITE && m.Value(sip.PAssertedIdentity) != nil })
	if invite == nil {
		t.Fatal("no INVITE between the offices")
	}
	if got := string(invite.Value(sip.PAssertedIdentity)); !strings.HasPrefix(got, "<sip:2003@south.example>") {
		t.Errorf("asserted: %s, want 2003", got)
	}
	if got := string(invite.Value(sip.PChargingVector)); strings.Contains(got, "mine") || invite.Value(sip.RoamService) != nil {
		t.Errorf("a phone's words crossed: %s %s", got, invite.Value(sip.RoamService))
	}

	// Calls come by the flow, not by the Path.
	caller := x.phone("2001", "south", phone.Config{})
	if _, err := x.plug(caller); err != nil {
		t.Fatal(err)
	}
	go caller.Call(within(t, 5*time.Second), "sip:2003@south.example")
	for {
		m := w.next()
		if m.Method() == sip.INVITE && m.IsRequest() {
			if m.Value(sip.Route) != nil {
				t.Errorf("Route: %s, want none", m.Value(sip.Route))
			}
			break
		}
	}
	// A user's own identity query tells no ticket and no profile.
	home := x.dial("tcp", "north")
	res = home.register("1001", "P-Visited-Network-ID: west\n")
	if res.Status() != 200 || len(res.Body()) > 0 || res.Value(sip.RoamTicket) != nil {
		t.Errorf("got %d %s %s, want 200 alone", res.Status(), res.Value(sip.RoamTicket), res.Body())
	}
}
