package office

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"testing"
)

// TestOwnHost: phones are told of the addresses and ports where we listen, and of a name that our certificate is likely to have.
func TestOwnHost(t *testing.T) {
	for _, c := range []struct {
		uri   string
		bound []string
		want  string
	}{
		{"", []string{"udp:10.2.0.1:5060", "tcp:10.2.0.1:5060"}, "softswitch.south.example [10.2.0.1] 5060 5060 0"},
		{"sip:sip.south.example:5067;transport=tls", []string{"udp:0.0.0.0:5070", "tls:[::]:5061", "wss:[::]:8089"}, "sip.south.example [0.0.0.0 ::] 5070 0 5061"},
		{"sip:10.2.0.1:5067;transport=tls", []string{"udp:10.2.0.1:5060", "udp:10.2.0.1:5062", "udp:10.3.0.1:5060"}, "softswitch.south.example [10.2.0.1 10.3.0.1] 5060 0 0"},
	} {
		h := ownHost(&Config{Domain: "south.example", URI: c.uri}, c.bound)
		if got := fmt.Sprint(h.Name, " ", h.Addrs, " ", h.UDP, " ", h.TCP, " ", h.TLS); got != c.want {
			t.Errorf("%v: got %s, want %s", c.bound, got, c.want)
		}
	}
}

// TestHostAt: a softswitch in another process is where its URI says; names are for others to resolve.
func TestHostAt(t *testing.T) {
	for phones, want := range map[string]string{
		"sip:sw1.south.example":               "sw1.south.example [] 5060 5060 0",
		"sip:sw1.south.example;transport=tls": "sw1.south.example [] 0 0 5061",
		"sips:sw1.south.example:5071":         "sw1.south.example [] 0 0 5071",
		"sip:10.2.0.2:5070;transport=tcp":     "n [10.2.0.2] 0 5070 0",
		"sip:[2001:db8::2];transport=udp":     "n [2001:db8::2] 5060 0 0",
		"":                                    "false",
		"not a URI":                           "false",
	} {
		h, ok := hostAt(phones, "n")
		got := fmt.Sprint(h.Name, " ", h.Addrs, " ", h.UDP, " ", h.TCP, " ", h.TLS)
		if !ok {
			got = "false"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", phones, got, want)
		}
	}
}

// TestCertifies: TLS is told only of a domain that the certificate names itself.
func TestCertifies(t *testing.T) {
	cert := &tls.Certificate{Leaf: &x509.Certificate{DNSNames: []string{"South.example", "*.north.example"}, URIs: []*url.URL{{Scheme: "sip", Opaque: "west.example"}}}}
	for domain, want := range map[string]bool{"south.example": true, "west.example": true, "sip.north.example": false, "north.example": false} {
		if got := certifies(cert, domain); got != want {
			t.Errorf("%s: got %t, want %t", domain, got, want)
		}
	}
	if certifies(nil, "south.example") || certifies(&tls.Certificate{}, "south.example") {
		t.Error("no certificate names somebody")
	}
}
