package e2e

import (
	"bufio"
	"cmp"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// agent is a user agent made of text: it sends what a test says, header by header, over UDP or TCP, and
// keeps what comes. It repeats nothing and answers nothing by itself.
type agent struct {
	t                     *testing.T
	c                     net.Conn
	in                    *bufio.Reader // over TCP
	user, login, password string        // user is the AOR without "sip:"
	id                    string        // Call-ID of its registration
	seq                   int           // CSeq of its last request
	queue                 []message     // came while something else was waited for
	instance              string        // +sip.instance; "": none
	asked                 message       // the last request it sent
}

// message is one SIP message as it came.
type message string

// newAgent is user (user@domain) with the demo password at an office; network is "udp" or "tcp".
func newAgent(t *testing.T, network, office, user string) *agent {
	t.Helper()
	c, err := net.Dial(network, office)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	login, _, _ := strings.Cut(user, "@")
	a := &agent{t: t, c: c, user: user, login: login, password: "demo-" + login, id: token()}
	if network == "tcp" {
		a.in = bufio.NewReader(c)
	}
	return a
}

var tokens = time.Now().UnixNano()

// token is a word nobody else has.
func token() string {
	tokens++
	return strconv.FormatInt(tokens, 36)
}

func (a *agent) transport() string { return strings.ToUpper(a.c.LocalAddr().Network()) }

// contact is the agent's Contact, with its instance and more parameters.
func (a *agent) contact(more string) string {
	user, _, _ := strings.Cut(a.user, "@")
	c := fmt.Sprintf("<sip:%s@%s;transport=%s>", user, a.c.LocalAddr(), strings.ToLower(a.transport()))
	if a.instance != "" {
		c += `;+sip.instance="<urn:uuid:` + a.instance + `>"`
	}
	return c + more
}

// request is a request of the agent outside any dialog; headers replace the usual ones of the same name.
func (a *agent) request(method, uri, body string, headers ...string) message {
	a.seq++
	to := uri
	if method == "REGISTER" {
		to = "sip:" + a.user
	}
	usual := []string{"Via: SIP/2.0/" + a.transport() + " " + a.c.LocalAddr().String() + ";rport;branch=z9hG4bK" + token(), "Max-Forwards: 70",
		"From: <sip:" + a.user + ">;tag=" + token(), "To: <" + to + ">", "Call-ID: " + token(), fmt.Sprintf("CSeq: %d %s", a.seq, method),
		"User-Agent: a phone made of text, which says as much of itself as phones do", "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, NOTIFY, REFER, UPDATE"}
	if body != "" {
		usual = append(usual, "Content-Type: application/sdp")
	}
	text := method + " " + uri + " SIP/2.0\r\n"
	for _, u := range usual {
		name, _, _ := strings.Cut(u, ":")
		given := false
		for _, h := range headers {
			given = given || strings.HasPrefix(h, name+":")
		}
		if !given {
			text += u + "\r\n"
		}
	}
	for _, h := range headers {
		text += h + "\r\n"
	}
	return message(text + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
}

func (a *agent) send(m message) {
	a.t.Helper()
	if _, err := io.WriteString(a.c, string(m)); err != nil {
		a.t.Fatal(err)
	}
}

// read is the next message that comes within limit.
func (a *agent) read(limit time.Duration) (message, error) {
	a.c.SetReadDeadline(time.Now().Add(limit))
	if a.in == nil {
		b := make([]byte, 65535)
		n, err := a.c.Read(b)
		return message(b[:n]), err
	}
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := a.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line != "\r\n" || head.Len() > 0 {
			head.WriteString(line)
		}
	}
	n, _ := strconv.Atoi(message(head.String()).header("Content-Length"))
	body := make([]byte, n)
	_, err := io.ReadFull(a.in, body)
	return message(head.String() + string(body)), err
}

// wait gives the first message that fits, now or within limit; what does not fit is kept.
func (a *agent) wait(what string, limit time.Duration, fits func(message) bool) message {
	a.t.Helper()
	for i, m := range a.queue {
		if fits(m) {
			a.queue = append(a.queue[:i:i], a.queue[i+1:]...)
			return m
		}
	}
	for end := time.Now().Add(limit); ; {
		m, err := a.read(time.Until(end))
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				a.t.Fatalf("%s: %v", what, err)
			}
			a.t.Fatalf("%s: nothing within %v; kept: %q", what, limit, a.queue)
		}
		if fits(m) {
			return m
		}
		a.queue = append(a.queue, m)
	}
}

// final waits for the final answer to a request.
func (a *agent) final(req message) message {
	a.t.Helper()
	return a.wait("an answer to "+req.first(), 10*time.Second, func(m message) bool {
		return m.status() >= 200 && m.header("Call-ID") == req.header("Call-ID") && m.header("CSeq") == req.header("CSeq")
	})
}

// called waits for a request with this method.
func (a *agent) called(method string) message {
	a.t.Helper()
	return a.wait("a "+method, 10*time.Second, func(m message) bool { return strings.HasPrefix(string(m), method+" ") })
}

// ask sends a request, again with credentials when it is challenged, and gives the last answer.
func (a *agent) ask(method, uri, body string, headers ...string) message {
	a.t.Helper()
	req := a.request(method, uri, body, headers...)
	a.send(req)
	res := a.final(req)
	if method == "INVITE" && res.status() >= 300 {
		a.send(a.ack(req, res))
	}
	if s := res.status(); s == 401 || s == 407 {
		again := []string{"Call-ID: " + req.header("Call-ID"), "From: " + req.header("From"), a.credentials(method, uri, res)}
		for _, h := range headers {
			if !strings.HasPrefix(h, "Call-ID:") && !strings.HasPrefix(h, "From:") {
				again = append(again, h)
			}
		}
		req = a.request(method, uri, body, again...)
		a.send(req)
		res = a.final(req)
		if method == "INVITE" && res.status() >= 300 {
			a.send(a.ack(req, res))
		}
	}
	a.asked = req
	return res
}

// ack is the ACK of a final answer other than 2xx (RFC 3261 17.1.1.3).
func (a *agent) ack(req, res message) message {
	seq, _, _ := strings.Cut(req.header("CSeq"), " ")
	uri := strings.Fields(req.first())[1]
	return message("ACK " + uri + " SIP/2.0\r\nVia: " + req.header("Via") + "\r\nMax-Forwards: 70\r\nFrom: " + req.header("From") + "\r\nTo: " + res.header("To") +
		"\r\nCall-ID: " + req.header("Call-ID") + "\r\nCSeq: " + seq + " ACK\r\nContent-Length: 0\r\n\r\n")
}

// credentials answers the first challenge of res (RFC 7616 3.4).
func (a *agent) credentials(method, uri string, res message) string {
	name, header := "Authorization", "WWW-Authenticate"
	if res.status() == 407 {
		name, header = "Proxy-Authorization", "Proxy-Authenticate"
	}
	ch := res.header(header)
	algorithm := cmp.Or(value(ch, "algorithm"), "MD5")
	h := func(s string) string {
		var sum hash.Hash = md5.New()
		if algorithm == "SHA-256" {
			sum = sha256.New()
		}
		io.WriteString(sum, s)
		return fmt.Sprintf("%x", sum.Sum(nil))
	}
	realm, nonce, cnonce := value(ch, "realm"), value(ch, "nonce"), token()
	response := h(h(a.login+":"+realm+":"+a.password) + ":" + nonce + ":00000001:" + cnonce + ":auth:" + h(method+":"+uri))
	return fmt.Sprintf(`%s: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=%s, cnonce="%s", qop=auth, nc=00000001`,
		name, a.login, realm, nonce, uri, response, algorithm, cnonce)
}

// register is a REGISTER of the agent's own registration to its domain; more is Contact, Expires and the like.
func (a *agent) register(more ...string) message {
	a.t.Helper()
	_, domain, _ := strings.Cut(a.user, "@")
	return a.ask("REGISTER", "sip:"+domain, "", append([]string{"Call-ID: " + a.id}, more...)...)
}

// online registers the agent's own contact and wants 200.
func (a *agent) online(more ...string) *agent {
	a.t.Helper()
	if res := a.register(append([]string{"Contact: " + a.contact("")}, more...)...); res.status() != 200 {
		a.t.Fatalf("register %s: got %s, want 200", a.user, res.first())
	}
	return a
}

// answer answers a request that came; headers and body as given.
func (a *agent) answer(req message, status, body string, headers ...string) {
	a.t.Helper()
	text := "SIP/2.0 " + status + "\r\n"
	for _, v := range req.headers("Via") {
		text += "Via: " + v + "\r\n"
	}
	for _, v := range req.headers("Record-Route") {
		text += "Record-Route: " + v + "\r\n"
	}
	to := req.header("To")
	if !strings.Contains(to, ";tag=") {
		to += ";tag=" + a.id
	}
	text += "From: " + req.header("From") + "\r\nTo: " + to + "\r\nCall-ID: " + req.header("Call-ID") + "\r\nCSeq: " + req.header("CSeq") + "\r\nContact: " + a.contact("") + "\r\n"
	if body != "" {
		text += "Content-Type: application/sdp\r\n"
	}
	for _, h := range headers {
		text += h + "\r\n"
	}
	a.send(message(text + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)))
}

// within is a request of the dialog that res, an answer to req, made.
func (a *agent) within(method string, req, res message, body string, headers ...string) message {
	uri := strings.Trim(strings.Split(res.header("Contact"), ">")[0], "<")
	own := []string{"From: " + req.header("From"), "To: " + res.header("To"), "Call-ID: " + req.header("Call-ID")}
	if method == "ACK" {
		seq, _, _ := strings.Cut(req.header("CSeq"), " ")
		own = append(own, "CSeq: "+seq+" ACK")
	}
	return a.request(method, uri, body, append(own, headers...)...)
}

// sdp is an audio offer or answer with this address and port.
func sdp(addr, port string, more ...string) string {
	family := "IP4"
	if strings.Contains(addr, ":") {
		family = "IP6"
	}
	s := "v=0\r\no=- 1 1 IN " + family + " " + addr + "\r\ns=-\r\nc=IN " + family + " " + addr + "\r\nt=0 0\r\nm=audio " + port + " RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
	for _, m := range more {
		s += m + "\r\n"
	}
	return s
}

// value is a parameter of a challenge.
func value(header, name string) string {
	for _, p := range strings.FieldsFunc(strings.TrimPrefix(header, "Digest "), func(r rune) bool { return r == ',' }) {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(k, name) {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

func (m message) first() string {
	line, _, _ := strings.Cut(string(m), "\r\n")
	return line
}

// status is the code of an answer, 0 of a request.
func (m message) status() int {
	if !strings.HasPrefix(string(m), "SIP/2.0 ") || len(m) < 11 {
		return 0
	}
	code, _ := strconv.Atoi(string(m[8:11]))
	return code
}

// headers is every value line of a header.
func (m message) headers(name string) (all []string) {
	head, _, _ := strings.Cut(string(m), "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n")[1:] {
		k, v, _ := strings.Cut(line, ":")
		if strings.EqualFold(strings.TrimSpace(k), name) {
			all = append(all, strings.TrimSpace(v))
		}
	}
	return all
}

func (m message) header(name string) string {
	if all := m.headers(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (m message) body() string {
	_, body, _ := strings.Cut(string(m), "\r\n\r\n")
	return body
}

// dial sends an INVITE, with credentials when the first answer asks for them, and gives the INVITE that stands.
func (a *agent) dial(uri string, headers ...string) message {
	a.t.Helper()
	offer := sdp("127.0.0.1", "4000")
	headers = append([]string{"Contact: " + a.contact("")}, headers...)
	req := a.request("INVITE", uri, offer, headers...)
	a.send(req)
	answers := func(m message) bool {
		return m.status() >= 100 && m.header("CSeq") == req.header("CSeq") && m.header("Call-ID") == req.header("Call-ID")
	}
	res := a.wait("an answer to INVITE", 10*time.Second, answers)
	if res.status() == 100 { // a challenge follows at once, or the callee is asked
		m, err := a.read(300 * time.Millisecond)
		switch {
		case err != nil:
			return req
		case !answers(m):
			a.queue = append(a.queue, m)
			return req
		}
		res = m
	}
	if s := res.status(); s != 401 && s != 407 {
		a.queue = append(a.queue, res)
		return req
	}
	a.send(a.ack(req, res))
	req = a.request("INVITE", uri, offer, append(headers, "Call-ID: "+req.header("Call-ID"), "From: "+req.header("From"), a.credentials("INVITE", uri, res))...)
	a.send(req)
	return req
}
