package office_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
)

// TestRenewedCertificate: what listens with TLS, for phones, for web pages and for partners, shows the certificate read
// last, and shows it to partners it dials. TLS 1.1 is refused by each.
func TestRenewedCertificate(t *testing.T) {
	x := startThree(t, func(c *office.Config) { c.Listen = append(c.Listen, "tls:127.0.0.1:0", "wss:127.0.0.1:0") })
	south := x.office("south")
	_, partner, _ := strings.Cut(south.Config().PartnerListen, ":")
	listeners := map[string]string{"phones": x.addr("south", "tls"), "web pages": x.addr("south", "wss"), "partners": partner}
	mine, err := tls.LoadX509KeyPair(x.pem("north.pem"), x.pem("north.key"))
	if err != nil {
		t.Fatal(err)
	}
	shown := func(at string, newest uint16) (string, error) {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", at, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{mine},
			MinVersion: tls.VersionTLS10, MaxVersion: newest})
		if err != nil {
			return "", err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
	}
	for renewed := range 2 {
		want := fmt.Sprintf("%.*s", 7*renewed, "renewed")
		for who, at := range listeners {
			if got, err := shown(at, tls.VersionTLS13); err != nil || got != want {
				t.Errorf("%s: got a certificate %q, %v, want %q", who, got, err, want)
			}
			if got, err := shown(at, tls.VersionTLS11); err == nil {
				t.Errorf("%s: got a connection of TLS 1.1 (%q), want it refused", who, got)
			}
		}
		x.sign("south", &x509.Certificate{Subject: pkix.Name{CommonName: "renewed"}, DNSNames: []string{"sip.south.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, x.ca, x.caKey)
		if kept, err := south.Reload(t.Context(), south.Config()); err != nil || len(kept) > 0 {
			t.Fatalf("reload: kept %v, %v", kept, err)
		}
	}
	if _, err := x.plug(x.phone("1001", "south", phone.Config{})); err != nil { // south dials north with the new one
		t.Errorf("a visitor after the renewal: %v", err)
	}
	x.located("1001", "south")
}

// TestPhonesOverTLS: south takes phones by TLS 1.2 and later. A renewed certificate is read on reload: the next
// connection sees it, and the one that is up stays up.
func TestPhonesOverTLS(t *testing.T) {
	x := startThree(t, func(c *office.Config) { c.Listen = append(c.Listen, "tls:127.0.0.1:0") })
	south := x.office("south")
	at := x.addr("south", "tls")
	if partner := south.Config().PartnerListen; "tls:"+at == partner {
		t.Fatalf("phones at %s, want another listener than the partners'", at)
	}
	old := secureConn(t, at, tls.VersionTLS12)
	options(t, old)
	x.sign("south", &x509.Certificate{DNSNames: []string{"renewed.example"}}, &x509.Certificate{}, nil)
	if kept, err := south.Reload(t.Context(), south.Config()); err != nil || len(kept) > 0 {
		t.Fatalf("reload: kept %v, %v", kept, err)
	}
	for c, want := range map[*tls.Conn]string{old: "sip.south.example", secureConn(t, at, tls.VersionTLS13): "renewed.example"} {
		if got := c.ConnectionState().PeerCertificates[0].DNSNames; len(got) != 1 || got[0] != want {
			t.Errorf("certificate of %v, want %s", got, want)
		}
		options(t, c)
	}
	if c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("got a connection of TLS 1.1, want it refused")
	}
}

// secureConn is a phone's connection; the phone looks at the certificate itself.
func secureConn(t *testing.T, at string, version uint16) *tls.Conn {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", at, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// options asks by c for a 200.
func options(t *testing.T, c *tls.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "OPTIONS sip:south.example SIP/2.0\r\nVia: SIP/2.0/TLS %s;branch=z9hG4bK%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:t@example.org>;tag=1\r\n"+
		"To: <sip:south.example>\r\nCall-ID: %[2]d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", netip.MustParseAddrPort(c.LocalAddr().String()), time.Now().UnixNano())
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "SIP/2.0 200") {
		t.Errorf("OPTIONS: got %q, %v, want 200", line, err)
	}
}
