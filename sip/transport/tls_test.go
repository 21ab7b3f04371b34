package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// authority is a certificate authority for one test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, key: newKey(t), pool: x509.NewCertPool()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// config is that of an office whose certificate has names; it trusts a.
func (a *authority) config(names ...string) *tls.Config {
	c := &x509.Certificate{}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	return &tls.Config{Certificates: []tls.Certificate{a.signed(c)}, RootCAs: a.pool, ClientCAs: a.pool}
}

// signed is c, signed by a, with what it leaves out filled in.
func (a *authority) signed(c *x509.Certificate) tls.Certificate {
	key := newKey(a.t)
	c.SerialNumber, c.NotBefore = big.NewInt(2), time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	if c.ExtKeyUsage == nil {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// office is one with a partner listener whose certificate has names.
func (a *authority) office(names ...string) *ear {
	return start(a.t, Config{
		PartnerListen: "tls:127.0.0.1:0", PartnerTLS: a.config(names...),
		URI: sip.URI{Scheme: "sip", Host: names[0]}, Boot: 7,
	})
}

func TestPartnersKnowEachOther(t *testing.T) {
	a := newAuthority(t)
	north := a.office("sip.north.example", "127.0.0.1")
	south := a.office("SIP.south.example")
	h := sip.Hop{Transport: roam.TLS, Addr: north.at(0), Name: "sip.north.example"}
	f, err := south.t.Open(context.Background(), h)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(south.at(0))
	if f.Partner != "north" || f.Here != "SIP.south.example:"+port || f.Conn != 7<<32|1 {
		t.Errorf("got %+v, want north's, Here the URI, a connection of boot 7", f)
	}
	if err := south.t.Send(f, []byte(request("INVITE", "1", "P-Asserted-Identity: <sip:2001@south.example>\r\n"))); err != nil {
		t.Fatal(err)
	}
	got := north.hear(t)
	if names := []string{"sip.south.example"}; !slices.Equal(got.flow.Names, names) || got.flow.Partner != "south" {
		t.Errorf("got %+v, want names %v of south", got.flow, names)
	}
	if got.m.Value(sip.PAssertedIdentity) == nil {
		t.Error("got no P-Asserted-Identity, want a partner's kept")
	}
	if m := south.hear(t).m; m.Status() != 200 {
		t.Errorf("got %d, want 200", m.Status())
	}
	again, err := south.t.Open(context.Background(), h)
	if err != nil || again != f {
		t.Errorf("got %v, %v, want the connection there is", again, err)
	}
	h.Name = "127.0.0.1" // by address: another hop, and an IP name in the certificate
	byIP, err := south.t.Open(context.Background(), h)
	if err != nil || byIP == f || byIP.Partner != "north" {
		t.Errorf("got %v, %v, want a connection of its own to north", byIP, err)
	}
}

func TestStrangersAreNotPartners(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	north := a.office("sip.north.example")
	for name, c := range map[string]*tls.Config{
		"no certificate":  {RootCAs: a.pool},
		"wrong authority": {RootCAs: a.pool, Certificates: other.config("sip.south.example").Certificates},
		"no partner":      {RootCAs: a.pool, Certificates: a.config("sip.example.org").Certificates},
		"TLS 1.1":         {RootCAs: a.pool, Certificates: a.config("sip.south.example").Certificates, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		c.ServerName = "sip.north.example"
		nc, err := tls.Dial("tcp", north.at(0), c)
		if err != nil {
			continue
		}
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = nc.Write([]byte(request("OPTIONS", "1"))) // TLS 1.3 learns of the refusal at the first read
		want := ""                                       // closed
		if name == "no partner" {
			want = "SIP/2.0 403 No Roaming Agreement\r\n"
		}
		if got := readAllLenient(nc); got != want && (want == "" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s: got %q, want %q and the connection closed", name, got, want)
		}
		nc.Close()
	}
	eventually(t, "four refusals", func() bool { return north.counted("partner") == 4 })
	north.hearNothing(t)
}

func readAllLenient(c net.Conn) string {
	var b strings.Builder
	room := make([]byte, 1000)
	for {
		n, err := c.Read(room)
		b.Write(room[:n])
		if ne, is := err.(net.Error); is && ne.Timeout() {
			return "still open"
		}
		if err != nil {
			return b.String()
		}
	}
}

func TestOpenRefusesImpostors(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	south := a.office("sip.south.example")
	for name, tt := range map[string]struct {
		far  *ear
		name string
	}{
		"wrong authority": {other.office("sip.north.example"), "sip.north.example"},
		"wrong name":      {a.office("sip.west.example"), "sip.north.example"},
		"no partner":      {a.office("sip.example.org"), "sip.example.org"},
	} {
		f, err := south.t.Open(context.Background(), sip.Hop{Transport: roam.TLS, Addr: tt.far.at(0), Name: tt.name})
		if err == nil {
			t.Errorf("%s: got %+v, want an error", name, f)
		}
	}
}

func TestPhonesOverTLS(t *testing.T) {
	a := newAuthority(t)
	c := a.config("sip.north.example")
	e := start(t, Config{Listen: []string{"tls:127.0.0.1:0"}, PhoneTLS: &tls.Config{Certificates: c.Certificates}})
	nc, err := tls.Dial("tcp", e.at(0), &tls.Config{RootCAs: a.pool, ServerName: "sip.north.example", Certificates: a.config("sip.south.example").Certificates})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	say(t, nc, request("INVITE", "1", "P-Asserted-Identity: <sip:boss@north.example>\r\n"))
	wantPrefix(t, read(t, nc), "SIP/2.0 200")
	h := e.hear(t)
	if h.flow.Partner != "" || h.flow.Names != nil || h.m.Value(sip.PAssertedIdentity) != nil {
		t.Errorf("got %+v, want a phone: no names, no partner, nothing asserted", h.flow)
	}
	if h.flow.Transport != roam.TLS || h.flow.Here != e.at(0) {
		t.Errorf("got %+v, want TLS to %s", h.flow, e.at(0))
	}
}

// TestHandshakeIsBounded: one who connects and says nothing holds no place, and not the end.
func TestHandshakeIsBounded(t *testing.T) {
	a := newAuthority(t)
	e := start(t, Config{PartnerListen: "tls:127.0.0.1:0", PartnerTLS: a.config("sip.north.example")},
		func(tr *Transport) { tr.limits.first = 50 * time.Millisecond })
	readAllOrReset(t, e.dial(t, "tcp", 0))
	slow := start(t, Config{PartnerListen: "tls:127.0.0.1:0", PartnerTLS: a.config("sip.north.example")})
	slow.dial(t, "tcp", 0) // open until this test ends
	eventually(t, "a connection", func() bool {
		slow.t.mu.Lock()
		defer slow.t.mu.Unlock()
		return slow.t.kinds[partnerConn] == 1
	})
	slow.stop() // fails when it waits for the handshake
}

// TestUnverifiedNamesAreNone: a configuration that checks no certificates trusts nobody.
func TestUnverifiedNamesAreNone(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	c := a.config("sip.south.example")
	c.InsecureSkipVerify = true
	south := start(t, Config{PartnerListen: "tls:127.0.0.1:0", PartnerTLS: c}, func(tr *Transport) {
		tr.identify = func(*sip.Flow) roam.OfficeID { return "anybody" }
	})
	north := other.office("sip.north.example")
	f, err := south.t.Open(context.Background(), sip.Hop{Transport: roam.TLS, Addr: north.at(0), Name: "sip.north.example"})
	if err == nil {
		t.Errorf("got %+v, want an error", f)
	}
}

// TestIdentities is RFC 5922 7.1: whose a certificate is.
func TestIdentities(t *testing.T) {
	uris := func(all ...string) (us []*url.URL) {
		for _, s := range all {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			us = append(us, u)
		}
		return us
	}
	a := newAuthority(t)
	for name, tt := range map[string]struct {
		cert x509.Certificate
		want []string
	}{
		"URI":                       {x509.Certificate{URIs: uris("sip:North.Example")}, []string{"north.example"}},
		"URI and DNS":               {x509.Certificate{URIs: uris("sip:north.example"), DNSNames: []string{"SIP.north.example"}}, []string{"north.example", "sip.north.example"}},
		"URI of a user":             {x509.Certificate{URIs: uris("sip:alice@north.example")}, nil},
		"other schemes":             {x509.Certificate{URIs: uris("sips:north.example", "https://north.example", "spiffe://north.example/x")}, nil},
		"DNS wildcard":              {x509.Certificate{DNSNames: []string{"*.north.example", "sip.north.example"}}, []string{"sip.north.example"}},
		"URI wildcard":              {x509.Certificate{URIs: uris("sip:*.example")}, nil},
		"with the root's dot":       {x509.Certificate{DNSNames: []string{"sip.north.example."}}, []string{"sip.north.example"}},
		"address":                   {x509.Certificate{IPAddresses: []net.IP{net.ParseIP("2001:db8::1")}}, []string{"2001:db8::1"}},
		"common name alone":         {x509.Certificate{Subject: pkix.Name{CommonName: "north.example"}}, []string{"north.example"}},
		"common name beside":        {x509.Certificate{Subject: pkix.Name{CommonName: "north.example"}, DNSNames: []string{"west.example"}}, []string{"west.example"}},
		"common name beside e-mail": {x509.Certificate{Subject: pkix.Name{CommonName: "north.example"}, EmailAddresses: []string{"a@west.example"}}, nil},
		"common name is words":      {x509.Certificate{Subject: pkix.Name{CommonName: "our north office"}}, nil},
		"common name of a user":     {x509.Certificate{Subject: pkix.Name{CommonName: "alice@north.example"}}, nil},
		"common name wildcard":      {x509.Certificate{Subject: pkix.Name{CommonName: "*.north.example"}}, nil},
		"nothing":                   {x509.Certificate{}, nil},
	} {
		leaf, err := x509.ParseCertificate(a.signed(&tt.cert).Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := identities(leaf); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// TestNamesInURIs: two offices whose certificates have nothing but a sip: URI know each other both ways.
func TestNamesInURIs(t *testing.T) {
	a := newAuthority(t)
	office := func(host string) *ear {
		c := a.config("unused.example")
		c.Certificates = []tls.Certificate{a.signed(&x509.Certificate{URIs: []*url.URL{{Scheme: "sip", Opaque: host}}})}
		return start(t, Config{PartnerListen: "tls:127.0.0.1:0", PartnerTLS: c, URI: sip.URI{Scheme: "sip", Host: host}})
	}
	north, south := office("sip.north.example"), office("sip.south.example")
	f, err := south.t.Open(context.Background(), sip.Hop{Transport: roam.TLS, Addr: north.at(0), Name: "sip.north.example"})
	if err != nil || f.Partner != "north" {
		t.Fatalf("got %+v, %v, want a flow to north", f, err)
	}
	if err := south.t.Send(f, []byte(request("OPTIONS", "1"))); err != nil {
		t.Fatal(err)
	}
	if got := north.hear(t).flow; got.Partner != "south" || !slices.Equal(got.Names, []string{"sip.south.example"}) {
		t.Errorf("got %+v, want south by its URI", got)
	}
}

// TestOpenRefusesWildcardsAndOldTLS: what package tls alone would take.
func TestOpenRefusesWildcardsAndOldTLS(t *testing.T) {
	a := newAuthority(t)
	south := a.office("sip.south.example")
	expired := a.config("unused.example")
	expired.Certificates = []tls.Certificate{a.signed(&x509.Certificate{DNSNames: []string{"sip.north.example"}, NotAfter: time.Now().Add(-time.Minute)})}
	client := a.config("unused.example")
	client.Certificates = []tls.Certificate{a.signed(&x509.Certificate{DNSNames: []string{"sip.north.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})}
	old := a.config("sip.north.example")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for name, far := range map[string]*tls.Config{"wildcard": a.config("*.north.example"), "expired": expired, "of clients only": client, "TLS 1.1": old} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", far)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if c, err := l.Accept(); err == nil {
				_ = c.(*tls.Conn).Handshake()
				c.Close()
			}
		}()
		f, err := south.t.Open(context.Background(), sip.Hop{Transport: roam.TLS, Addr: l.Addr().String(), Name: "sip.north.example"})
		if err == nil {
			t.Errorf("%s: got %+v, want an error", name, f)
		}
		l.Close()
	}
}
