package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// sizedRequest is a MESSAGE of just size octets.
func sizedRequest(size int) string {
	head := strings.Replace(request("MESSAGE", "big"), "Content-Length: 0\r\n\r\n", "Content-Length: 60000\r\n\r\n", 1)
	body := size - len(head)
	return strings.Replace(head, "60000", fmt.Sprintf("%05d", body), 1) + strings.Repeat("x", body)
}

// TestLargestDatagrams: what fits a datagram comes in whole, IPv4's 65,507 octets and IPv6's 65,527, and goes out up to
// IPv4's; one octet more is refused by name before anything is sent.
func TestLargestDatagrams(t *testing.T) {
	for at, most := range map[string]int{"127.0.0.1": 65_507, "[::1]": 65_527} {
		e := start(t, Config{Listen: []string{"udp:" + at + ":0"}})
		c := e.dial(t, "udp", 0)
		say(t, c, sizedRequest(most))
		h := e.hear(t)
		if got := len(h.m.Bytes()); got != most || !strings.HasSuffix(string(h.m.Body()), "xx") {
			t.Errorf("%s: got %d octets, want %d", at, got, most)
		}
		wantPrefix(t, read(t, c), "SIP/2.0 200")
		if err := e.t.SendNow(h.flow, []byte(sizedRequest(65_507))); err != nil {
			t.Errorf("%s: sending 65,507 octets: %v", at, err)
		}
		if got := read(t, c); got != sizedRequest(65_507) {
			t.Errorf("%s: got %d octets out, want 65,507", at, len(got))
		}
		for _, send := range []func(*sip.Flow, []byte) error{e.t.Send, e.t.SendNow} {
			if err := send(h.flow, []byte(sizedRequest(65_508))); err != ErrTooLong {
				t.Errorf("%s: sending 65,508 octets: got %v, want %v", at, err, ErrTooLong)
			}
		}
	}
}

// TestLargestOnStreams: 65,535 octets are taken and given; one more is 513 and the end of the connection, as soon as
// the headers say so, also when they never end.
func TestLargestOnStreams(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	c := e.dial(t, "tcp", 0)
	say(t, c, sizedRequest(sip.MaxMessage))
	h := e.hear(t)
	if got := len(h.m.Bytes()); got != 65_535 {
		t.Errorf("got %d octets, want 65,535", got)
	}
	wantPrefix(t, read(t, c), "SIP/2.0 200")
	if err := e.t.Send(h.flow, []byte(sizedRequest(sip.MaxMessage))); err != nil {
		t.Fatal(err)
	}
	got := ""
	for len(got) < sip.MaxMessage {
		got += read(t, c)
	}
	if got != sizedRequest(sip.MaxMessage) {
		t.Errorf("got %d octets out, want 65,535 as sent", len(got))
	}
	more := sizedRequest(sip.MaxMessage + 1)
	for name, s := range map[string]string{
		"one octet more": more,
		"its headers":    more[:strings.Index(more, "\r\n\r\n")+4],
	} {
		c := e.dial(t, "tcp", 0)
		say(t, c, s)
		if got := readAll(t, c); !strings.HasPrefix(got, "SIP/2.0 513 Message Too Large\r\nVia: ") {
			t.Errorf("%s: got %q, want 513", name, got)
		}
	}
	c = e.dial(t, "tcp", 0)
	go func() {
		_, _ = c.Write([]byte("OPTIONS sip:a SIP/2.0\r\nX: " + strings.Repeat("y", 70_000)))
	}()
	readAllOrReset(t, c)
	e.hearNothing(t)
}

// TestAnswersNeverDial: the answer to a request goes back by where it came from and nowhere else, whatever Via,
// maddr, received and Contact say (18.2.2 asks otherwise; see the package's word on it).
func TestAnswersNeverDial(t *testing.T) {
	victim, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	for i, network := range []string{"udp", "tcp"} {
		at := victim.LocalAddr().String()
		if network == "tcp" {
			at = door.Addr().String()
		}
		host, port, _ := net.SplitHostPort(at)
		for _, via := range []string{
			at + ";branch=z9hG4bK1;rport",
			"192.0.2.9:5060;maddr=" + host + ";branch=z9hG4bK2",
			at + ";received=" + host + ";rport=" + port + ";branch=z9hG4bK3",
		} {
			c := e.dial(t, network, i)
			say(t, c, strings.Replace(request("OPTIONS", "1", "Contact: <sip:x@"+at+">\r\n"), "192.0.2.9:5060;branch=z9hG4bK1;rport", via, 1))
			wantPrefix(t, read(t, c), "SIP/2.0 200")
			f := e.hear(t).flow
			if network == "udp" {
				continue
			}
			c.Close() // and when the connection has gone there is no other way
			e.waitClosed(t)
			if err := e.t.Send(f, []byte("SIP/2.0 200 OK\r\n\r\n")); err != ErrGone {
				t.Errorf("got %v, want %v", err, ErrGone)
			}
		}
	}
	_ = victim.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, from, err := victim.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("got %d octets from %v at what Via names, want none", n, from)
	}
	_ = door.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if c, err := door.Accept(); err == nil {
		c.Close()
		t.Error("got a connection to what Via names, want none")
	}
}

// TestReceivedAndRport: rport where it was asked for; received whenever it was, or when sent-by is not the source; the
// answer goes to the source in any case (18.2.1, RFC 3581 4).
func TestReceivedAndRport(t *testing.T) {
	for _, at := range []string{"127.0.0.1", "[::1]"} {
		e := start(t, Config{Listen: []string{"udp:" + at + ":0"}})
		c := e.dial(t, "udp", 0)
		bare := strings.Trim(at, "[]")
		_, port, _ := net.SplitHostPort(c.LocalAddr().String())
		for via, want := range map[string]string{
			"192.0.2.9:5060;branch=z9hG4bK1":                                "192.0.2.9:5060;branch=z9hG4bK1;received=" + bare,
			"192.0.2.9:5060;branch=z9hG4bK1;rport":                          "192.0.2.9:5060;branch=z9hG4bK1;received=" + bare + ";rport=" + port,
			"192.0.2.9:5060;rport;branch=z9hG4bK1":                          "192.0.2.9:5060;branch=z9hG4bK1;received=" + bare + ";rport=" + port,
			"phone.example;branch=z9hG4bK1":                                 "phone.example;branch=z9hG4bK1;received=" + bare,
			at + ":9;branch=z9hG4bK1":                                       at + ":9;branch=z9hG4bK1", // its own address: nothing to tell
			at + ":9;branch=z9hG4bK1;rport":                                 at + ":9;branch=z9hG4bK1;received=" + bare + ";rport=" + port,
			"192.0.2.9;received=192.0.2.66;rport=1;branch=z9hG4bK1":         "192.0.2.9;branch=z9hG4bK1;received=" + bare + ";rport=" + port,
			at + ";received=192.0.2.66;branch=z9hG4bK1":                     at + ";branch=z9hG4bK1;received=" + bare,
			"[2001:db8::9]:5060;branch=z9hG4bK1;rport;received=2001:db8::1": "[2001:db8::9]:5060;branch=z9hG4bK1;received=" + bare + ";rport=" + port,
		} {
			say(t, c, strings.Replace(request("OPTIONS", "1"), "192.0.2.9:5060;branch=z9hG4bK1;rport", via, 1))
			got := read(t, c) // at the source, whatever was asked
			if !strings.Contains(got, "\r\nVia: SIP/2.0/UDP "+want+"\r\n") {
				t.Errorf("%s: got %q, want Via %s", via, got, want)
			}
			e.hear(t)
		}
	}
}

// TestRequestsGoDownTheirConnection: a request to a phone goes by the connection that it registered by; Find gives no
// other when that is gone, and none is opened to the phone.
func TestRequestsGoDownTheirConnection(t *testing.T) {
	phone, err := net.Listen("tcp", "127.0.0.1:0") // what its Contact names
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	one, two := e.dial(t, "tcp", 0), e.dial(t, "tcp", 0)
	var flows []*sip.Flow
	for _, c := range []net.Conn{one, two} {
		say(t, c, request("REGISTER", "1", "Contact: <sip:1001@"+phone.Addr().String()+";transport=tcp>\r\n"))
		wantPrefix(t, read(t, c), "SIP/2.0 200")
		flows = append(flows, e.hear(t).flow)
	}
	f, found := e.t.Find(flows[1].Flow)
	if !found {
		t.Fatal("Find: got none, want the second connection")
	}
	if err := e.t.Send(f, []byte(request("INVITE", "2"))); err != nil {
		t.Fatal(err)
	}
	wantPrefix(t, read(t, two), "INVITE ")
	two.Close()
	e.waitClosed(t)
	if f, found := e.t.Find(flows[1].Flow); found {
		t.Errorf("Find: got %v, want none: the first connection is another flow", f)
	}
	_ = phone.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if c, err := phone.Accept(); err == nil {
		c.Close()
		t.Error("got a connection to the Contact, want none")
	}
	if _, err := e.t.Open(context.Background(), sip.Hop{Transport: roam.TCP, Addr: phone.Addr().String()}); err != nil {
		t.Errorf("a hop is dialled: got %v", err)
	}
}

// TestLinkLocal: a phone on a link-local address is answered, and found again, on the link that it came by; the zone,
// which means something on this machine only, is told to nobody (RFC 4007 11.2).
func TestLinkLocal(t *testing.T) {
	all, _ := net.Interfaces()
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || !p.Addr().Is6() || !p.Addr().IsLinkLocalUnicast() || i.Flags&net.FlagUp == 0 {
				continue
			}
			e := start(t, Config{Listen: []string{"udp:[::]:0", "tcp:[::]:0"}})
			for n, network := range []string{"udp", "tcp"} {
				_, port, _ := net.SplitHostPort(e.at(n))
				c, err := net.Dial(network, "["+p.Addr().String()+"%"+i.Name+"]:"+port)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				say(t, c, request("OPTIONS", "1"))
				got := read(t, c)
				wantPrefix(t, got, "SIP/2.0 200")
				if want := ";received=" + p.Addr().String() + ";rport="; !strings.Contains(got, want) || strings.Contains(got, "%") {
					t.Errorf("%s: got %q, want %q and no zone", network, got, want)
				}
				f := e.hear(t).flow
				if f.Remote.Addr().Zone() != i.Name || strings.Contains(f.Here, "%") {
					t.Errorf("%s: got %+v, want zone %s in Remote alone", network, f, i.Name)
				}
				again, found := e.t.Find(f.Flow)
				if !found {
					t.Fatalf("%s: the flow is not found again", network)
				}
				if err := e.t.SendNow(again, []byte(request("NOTIFY", "2"))); err != nil {
					t.Errorf("%s: %v", network, err)
				}
				wantPrefix(t, read(t, c), "NOTIFY ")
			}
			return
		}
	}
	t.Log("no link-local address here")
}
