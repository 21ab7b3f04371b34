package transport

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// A foreign partner is known by its address at its own listener: nobody else is heard there, and it may say who calls
// and by what way, never what offices tell each other.
func TestForeign(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}, Foreign: []Foreign{{
		Office: "acme", Listen: netip.MustParseAddrPort("127.0.0.1:0"), Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.5/32")}}}})
	addrs := e.t.Addrs()
	if len(addrs) != 3 || strings.TrimPrefix(addrs[1], "udp:") != strings.TrimPrefix(addrs[2], "tcp:") {
		t.Fatalf("got listeners %v, want phones', and UDP and TCP of one port", addrs)
	}
	own := strings.TrimPrefix(addrs[1], "udp:")
	ask := "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n" +
		"P-Asserted-Identity: <sip:a@acme.example>\r\nPath: <sip:127.0.0.5;lr>\r\nRoam-Ticket: t\r\nRoam-Path: north\r\nP-Visited-Network-ID: north\r\nContent-Length: 0\r\n\r\n"
	send := func(network, from, to string) {
		d := net.Dialer{}
		ip := net.ParseIP(from)
		if d.LocalAddr = (&net.UDPAddr{IP: ip}); network == "tcp" {
			d.LocalAddr = &net.TCPAddr{IP: ip}
		}
		c, err := d.Dial(network, to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte(ask)); err != nil && network == "udp" {
			t.Fatal(err)
		}
	}
	refused := uint64(0)
	for _, network := range []string{"udp", "tcp"} {
		send(network, "127.0.0.6", own)
		refused++
		eventually(t, "a stranger is refused", func() bool { return e.counted("source") == refused })
		e.hearNothing(t)
		send(network, "127.0.0.5", own)
		h := e.hear(t)
		if f := h.flow; f.Foreign != "acme" || f.Partner != "" || f.Remote.Addr().String() != "127.0.0.5" {
			t.Errorf("%s: got %+v, want acme's, and no partner's", network, f)
		}
		for n, want := range map[sip.Name]bool{sip.PAssertedIdentity: true, sip.Path: true, sip.RoamTicket: false, sip.RoamPath: false, sip.PVisitedNetworkID: false} {
			if got := h.m.Value(n) != nil; got != want {
				t.Errorf("%s: %v is there: got %v, want %v", network, n, got, want)
			}
		}
	}
	send("udp", "127.0.0.5", strings.TrimPrefix(addrs[0], "udp:"))
	if f := e.hear(t).flow; f.Foreign != "" {
		t.Errorf("at the phone listener: got %+v, want a phone's", f)
	}
	for to, want := range map[string]string{"127.0.0.5:5060": own, "127.0.0.6:5060": strings.TrimPrefix(addrs[0], "udp:")} {
		f, err := e.t.Open(t.Context(), sip.Hop{Transport: roam.UDP, Addr: to})
		if err != nil || f.Local.String() != want {
			t.Errorf("to %s: got %v, %v, want from %s", to, f, err, want)
		}
	}
	there, err := net.Listen("tcp", "127.0.0.5:0")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	f, err := e.t.Open(t.Context(), sip.Hop{Transport: roam.TCP, Addr: there.Addr().String()})
	if err != nil || f.Foreign != "acme" || f.Here != own {
		t.Errorf("dialled: got %+v, %v, want acme's, reached at %s", f, err, own)
	}
}
