package softswitch

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// lab is the three offices of world on the real clock: for what needs real sockets, and for speed.
func lab(t testing.TB) (nw *network, north *office) {
	nw = &network{t: t, nodes: map[netip.AddrPort]*node{}, names: map[string]netip.AddrPort{}, down: map[netip.AddrPort]string{}, offices: map[roam.OfficeID]*office{}, quick: true,
		router: &store{locs: map[roam.UserID]roam.Location{}, stale: map[roam.UserID]roam.Location{}, ids: map[sip.AOR]roam.Identity{}, peers: map[roam.OfficeID]roam.Peer{}, doubted: map[roam.OfficeID]bool{}}}
	ctx, stop := context.WithCancel(context.Background())
	nw.ctx = ctx
	t.Cleanup(func() { stop(); nw.wg.Wait() })
	north = nw.office("north", "192.0.2.1", Config{Numbers: roam.Numbers{Country: "1", Extensions: map[string]string{"1xxx": "+15550001xxx"}}})
	return nw, north
}

// TestRealMedia is a call whose RTP really passes: from the caller's socket to the callee's and back.
func TestRealMedia(t *testing.T) {
	nw, north := lab(t)
	relay, err := media.New(media.Config{Ports: "31000-31099", Idle: roam.Duration(time.Minute), IdleOnHold: roam.Duration(time.Hour), Addr: netip.MustParseAddr("127.0.0.1")}, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	north.sw.open = openFrom(relay)
	sa, sb := udp(t), udp(t)
	a := nw.phone(alice, "127.0.0.2:5060").register(north, "", 1)
	b := nw.phone(bob, "127.0.0.3:5060").register(north, "", 1)
	b.answer = func(p *phone, tx *transaction.Server) {
		p.d.Respond(tx, dialog.Answer{Code: 200, Type: sdpType, Body: sdpAt(sb)})
	}
	a.call("1002", string(sdpAt(sa)))
	wait(t, a, func() bool { return a.last() == 200 })
	hear := func(from, to *net.UDPConn, sdp string) {
		t.Helper()
		port := 0
		for line := range strings.SplitSeq(sdp, "\r\n") {
			fmt.Sscanf(line, "m=audio %d", &port)
		}
		rtp := append([]byte{0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7}, make([]byte, 160)...)
		if _, err := from.WriteToUDPAddrPort(rtp, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))); err != nil {
			t.Fatal(err)
		}
		to.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 1500)
		if n, err := to.Read(buf); err != nil || n != len(rtp) {
			t.Errorf("heard %d octets, %v, want %d", n, err, len(rtp))
		}
	}
	hear(sa, sb, a.bodies[len(a.bodies)-1])
	hear(sb, sa, b.offered)
	a.bye()
	wait(t, north, func() bool { return len(north.sw.calls) == 0 })
	north.do(func() {
		if r := north.row(alice); r.Codec != "PCMA" || r.Media[0].Packets != 1 || r.Media[1].Packets != 1 || r.Media[0].Octets == 0 {
			t.Errorf("record %+v", r)
		}
	})
	if used, _, _ := relay.Ports(); used != 0 {
		t.Errorf("%d ports still in use", used)
	}
}

func udp(t *testing.T) *net.UDPConn {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func sdpAt(c *net.UDPConn) []byte {
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n", c.LocalAddr().(*net.UDPAddr).Port)
}

// wait asks on n's loop until ok, at most 5 s.
func wait(t testing.TB, n interface{ do(func()) }, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		done := false
		n.do(func() { done = ok() })
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatal("not within 5 s")
		}
	}
}

// BenchmarkCall is one call through the office, INVITE to the records of BYE, with both phones' stacks beside it:
// 12 messages received and sent by the office. Media is not real.
func BenchmarkCall(b *testing.B) {
	nw, north := lab(b)
	nw.forget = true
	caller := nw.phone(alice, "127.0.0.2:5060").register(north, "", 1)
	callee := nw.phone(bob, "127.0.0.3:5060").register(north, "", 1)
	ended := make(chan struct{}, 1)
	callee.answer = func(p *phone, tx *transaction.Server) {
		p.d.Respond(tx, dialog.Answer{Code: 180})
		p.d.Respond(tx, dialog.Answer{Code: 200, Type: sdpType, Body: []byte("answer")})
		p.invited = p.invited[:0]
	}
	caller.onOK = func() {
		caller.d.Ack("", nil)
		caller.d.Bye(0, "")
	}
	callee.onEnd = func() { ended <- struct{}{} }
	to := transaction.Destination{Flow: nw.flow(roam.UDP, caller.addrs[0], north.addrs[0])}
	invite := func() {
		caller.got, caller.bodies, caller.ended = caller.got[:0], caller.bodies[:0], caller.ended[:0]
		caller.d = caller.table.Invite(dialog.Invite{To: to, URI: "sip:1002@192.0.2.1", From: sip.Address{Raw: "sip:1001@north.example"},
			ToAddr: sip.Address{Raw: "sip:1002@192.0.2.1"}, Type: sdpType, Body: []byte("offer")}, caller)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := caller.loop.Post(invite); err != nil {
			b.Fatal(err)
		}
		<-ended
	}
}
