package provision

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates of the tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "phones"}, NotBefore: time.Unix(0, 0), NotAfter: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{t, c, key}
}

// sign makes a certificate for name, good until until.
func (a *authority) sign(name string, until time.Time) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(0, 0), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serving binds w's listeners and serves until the test ends.
func (w *world) serving() (addr string) {
	w.t.Helper()
	if err := w.server.Listen(); err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				w.t.Error(err)
			}
		case <-time.After(3 * time.Second):
			w.t.Error("does not end")
		}
	})
	return w.server.Addrs()[0]
}

// TestCertificates: over TLS a phone is known by the certificate in whose name its MAC stands, and by no other.
func TestCertificates(t *testing.T) {
	ours, factory, other := newAuthority(t), newAuthority(t), newAuthority(t)
	late := time.Date(2039, 1, 1, 0, 0, 0, 0, time.UTC)
	file := filepath.Join(t.TempDir(), "phones.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: factory.cert.Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) {
		c.Listen, c.First, c.PhoneCA, c.Leases = []string{"https:127.0.0.1:0"}, ByCertificate, file, Ignored
	})
	if err := w.server.Listen(); err == nil {
		t.Fatal("listens without a certificate")
	}
	server := ours.sign("sip.south.example", late)
	w.server.cert = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &server, nil }}
	w.add(yealink, "2001")
	addr := w.serving()
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	get := func(cert *tls.Certificate, max uint16) (int, error) {
		c := &tls.Config{RootCAs: roots, MaxVersion: max}
		if cert != nil { // whatever the server says that it wants
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
		res, err := client.Get("https://" + addr + mine)
		if err != nil {
			return 0, err
		}
		res.Body.Close()
		return res.StatusCode, nil
	}
	for name, c := range map[string]struct {
		cert tls.Certificate
		want int
	}{
		"its own":        {factory.sign("001565A1B2C3", late), 200},
		"as Cisco's":     {factory.sign("CP-8841-SEP001565A1B2C3", late), 200},
		"another's":      {factory.sign("001565A1B2C4", late), 403},
		"of two":         {factory.sign("001565A1B2C3 001565A1B2C4", late), 403},
		"nobody's":       {factory.sign("Yealink", late), 403},
		"of a stranger":  {other.sign("001565A1B2C3", late), 403},
		"of our own":     {ours.sign("001565A1B2C3", late), 403},
		"no longer good": {factory.sign("001565A1B2C3", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)), 403},
	} {
		if code, err := get(&c.cert, 0); code != c.want {
			t.Errorf("%s: got %d, %v, want %d", name, code, err, c.want)
		}
	}
	if code, err := get(nil, 0); code != 403 {
		t.Errorf("none: got %d, %v", code, err)
	}
	if code, err := get(nil, tls.VersionTLS11); err == nil {
		t.Errorf("TLS 1.1: got %d", code)
	}
}

// TestWire: what is no request of a phone ends its connection and nothing else.
func TestWire(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Unknown = Guest })
	w.leases[netip.MustParseAddr("127.0.0.1")] = yealink.Colons()
	w.add(yealink, "2001")
	addr := w.serving()
	talk := func(text string) string {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(3 * time.Second))
		io.WriteString(c, text)
		c.(*net.TCPConn).CloseWrite()
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	for text, want := range map[string]string{
		"GET " + mine + " HTTP/1.1\r\nHost: x\r\n\r\n":                                                "HTTP/1.1 200 OK",
		"GET " + mine + " HTTP/1.0\r\n\r\n":                                                           "HTTP/1.0 200 OK",
		"GET http://elsewhere.example" + mine + " HTTP/1.1\r\nHost: x\r\n\r\n":                        "HTTP/1.1 200 OK",
		"GET " + mine + "?mac=1&x=../.. HTTP/1.1\r\nHost: x\r\n\r\n":                                  "HTTP/1.1 200 OK",
		"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n":                                           "HTTP/1.1 404 Not Found",
		"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n":                                   "HTTP/1.1 404 Not Found",
		"CONNECT example.org:25 HTTP/1.1\r\nHost: x\r\n\r\n":                                          "HTTP/1.1 405 Method Not Allowed",
		"GET " + mine + " HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n":      "HTTP/1.1 431 Request Header Fields Too Large",
		"GET " + mine + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello": "HTTP/1.1 400 Bad Request",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03":                                                "",
		"REGISTER sip:x SIP/2.0\r\n\r\n":                                                              "HTTP/1.1 400 Bad Request",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                                            "HTTP/1.1 505 HTTP Version Not Supported",
	} {
		if got := talk(text); got != want && !(want == "" && strings.HasPrefix(got, "HTTP/1.1 400")) && !strings.HasPrefix(text, "PRI") {
			t.Errorf("%.60q: got %q, want %q", text, got, want)
		}
	}
	if w.want(200, mine, from("127.0.0.1")) == "" {
		t.Error("does not serve any more")
	}
}

// TestConnections: one source has a few connections, and who holds them all keeps nobody else from being served.
func TestConnections(t *testing.T) {
	w := newWorld(t, nil)
	addr := w.serving()
	var held []net.Conn
	closed := 0
	for range 2 * connsEach {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	until := time.Now().Add(300 * time.Millisecond)
	ended := make(chan bool, len(held))
	for _, c := range held {
		c.SetReadDeadline(until)
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err != nil && !os.IsTimeout(err)
		}()
	}
	for range held {
		if <-ended {
			closed++
		}
	}
	if closed != connsEach {
		t.Errorf("%d of %d connections were closed, want %d", closed, len(held), connsEach)
	}
	for _, c := range held {
		c.Close()
	}
	for end := time.Now().Add(3 * time.Second); ; {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Second))
		io.WriteString(c, "GET /x HTTP/1.0\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if strings.Contains(line, "404") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got %q: room is not made again", line)
		}
	}
}

// FuzzRequest: whatever is asked, only the phone's own file has its password, and nothing panics.
func FuzzRequest(f *testing.F) {
	for _, path := range []string{mine, "/", "//0123456789abcdef//001565a1b2c3.cfg", "/../x", "/%2e%2e/001565a1b2c3.cfg", "/SEP001565A1B2C3.cnf.xml", "/y000000000066.cfg", "/001565a1b2c3.cfg/..;/", "/\x00"} {
		f.Add(path, "Yealink SIP-T46S 66.85.0.5 00:15:65:a1:b2:c3", "Basic cGhvbmUtMDAxNTY1YTFiMmMzOng=")
	}
	w := newWorld(f, func(c *Config) { c.Unknown, c.Rate = Guest, Rates{Rate{1 << 30, 1 << 30}, Rate{1 << 30, 1 << 30}} })
	w.add(yealink, "2001")
	password := w.reg.password("2001@south.example", yealink)
	f.Fuzz(func(t *testing.T, path, agent, authorization string) {
		w.t = t
		w.log.Reset()
		res := w.ask("/", func(r *http.Request) {
			r.URL.Path, r.RequestURI = path, path
			if u, err := url.ParseRequestURI(path); err == nil {
				r.URL = u
			}
			r.Header.Set("User-Agent", agent)
			r.Header.Set("Authorization", authorization)
		})
		b, _ := io.ReadAll(res.Body)
		if strings.Contains(string(b), password) && !strings.Contains(strings.ToLower(path), "001565a1b2c3") {
			t.Errorf("%q by %q: got the password", path, agent)
		}
		if log := w.logged(); strings.Contains(log, password) {
			t.Errorf("%q: the password is in the log", path)
		}
		if res.StatusCode >= 500 {
			t.Errorf("%q by %q: got %s\n%s", path, agent, res.Status, w.logged())
		}
	})
}

// BenchmarkFetch is a phone that comes again with its login: lease, login, template, and its row, without the network.
func BenchmarkFetch(b *testing.B) {
	w := newWorld(b, func(c *Config) { c.Rate = Rates{Rate{1 << 30, 1 << 30}, Rate{1 << 30, 1 << 30}} })
	w.add(yealink, "2001")
	login, key := Login(yealink), derive(w.server.secret, forHTTP, yealink, 1)
	w.want(200, mine)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if res := w.ask(mine, with(login, key)); res.StatusCode != 200 {
				b.Fatal(res.Status)
			}
		}
	})
}
