package media

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

func TestBothWays(t *testing.T) {
	r, m := newRelay(t, 2)
	br, a, b := answered(t, r)
	if got := a.relay.Port() % 2; got != 0 {
		t.Errorf("RTP port %d is odd", a.relay.Port())
	}
	a.send('1')
	if from := hear(t, b.rtp, 12, '1'); from != b.relay {
		t.Errorf("B heard from %s, want %s, where it sends", from, b.relay)
	}
	b.send('2')
	if from := hear(t, a.rtp, 12, '2'); from != a.relay {
		t.Errorf("A heard from %s, want %s", from, a.relay)
	}
	a.report(a.rtcp, a.relayRTCP(), '3')
	if from := hear(t, b.rtcp, 7, '3'); from != b.relayRTCP() {
		t.Errorf("RTCP from %s, want %s", from, b.relayRTCP())
	}
	st := br.State()
	if st.A.Packets != 1 || st.B.Packets != 1 || st.A.Octets != 20 || st.Codec != "PCMU" || st.Held || st.Heard.IsZero() {
		t.Errorf("got %+v", st)
	}
	if used, free, resting := r.Ports(); used != 8 && used != 4 || free != 0 || resting != 0 {
		t.Errorf("ports %d %d %d", used, free, resting)
	}
	if last := br.Close(); last.A != st.A || br.Close() != last || br.State() != last {
		t.Errorf("closed: got %+v, want %+v each time", last, st)
	}
	if used, free, resting := r.Ports(); used != 0 || free != 0 || resting != 4 {
		t.Errorf("after the call: ports %d %d %d, want 0 0 4", used, free, resting)
	}
	if _, err := br.Pass("A", "B1", a.sdp(), here(), here()); err == nil {
		t.Error("a closed bridge took SDP")
	}
	if n := dropCount(m, stranger); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

func TestMuxedRTCP(t *testing.T) {
	r, _ := newRelay(t, 4)
	_, a, b := answered(t, r, "a=rtcp-mux")
	a.report(a.rtp, a.relay, '1')
	hear(t, b.rtp, 7, '1')

	br := open(t, r) // only A can: B has it on the port of its own
	b.told(pass(t, br, "A", "B1", a.sdp("a=rtcp-mux")))
	a.told(pass(t, br, "B1", "A", b.sdp()))
	br.Join("B1")
	a.report(a.rtp, a.relay, '2')
	hear(t, b.rtcp, 7, '2')
	b.report(b.rtcp, b.relayRTCP(), '3')
	hear(t, a.rtcp, 7, '3')
}

func TestLatchesToWhereThePhoneSendsFrom(t *testing.T) {
	r, m := newRelay(t, 2)
	br, a, b := answered(t, r)
	nat := listen(t, loopback)
	sendTo(t, nat, a.relay, packet(1, '1'))
	hear(t, b.rtp, 12, '1')
	b.send('2')
	hear(t, nat, 12, '2')

	other := listen(t, loopback) // another port of the same address while the first talks
	sendTo(t, other, a.relay, packet(2, '3'))
	waitFor(t, "drop", func() bool { return dropCount(m, otherPort) == 1 })
	b.send('4')
	hear(t, nat, 12, '4')

	br.mu.Lock() // a second later it may: the phone has got another port from its NAT
	br.find("A").streams[0].media.heard = time.Now().Add(-relatchAfter)
	br.mu.Unlock()
	sendTo(t, other, a.relay, packet(2, '5'))
	hear(t, b.rtp, 12, '5')
	b.send('6')
	hear(t, other, 12, '6')

	a.send('7') // and the port its SDP names at any time
	hear(t, b.rtp, 12, '7')
	b.send('8')
	hear(t, a.rtp, 12, '8')
}

func TestRefreshKeepsTheLatchAndAnotherPortMovesIt(t *testing.T) {
	r, _ := newRelay(t, 2)
	br, a, b := answered(t, r)
	nat := listen(t, loopback)
	sendTo(t, nat, a.relay, packet(1, '1'))
	hear(t, b.rtp, 12, '1')
	before := a.relay
	pass(t, br, "A", "B1", a.sdp())
	a.told(pass(t, br, "B1", "A", b.sdp()))
	if a.relay != before {
		t.Errorf("port %s, want %s as before", a.relay, before)
	}
	b.send('2')
	hear(t, nat, 12, '2')
	moved := newFar(t)
	pass(t, br, "A", "B1", moved.sdp())
	b.send('3')
	hear(t, moved.rtp, 12, '3')
}

// strange is a relay none of whose phones is on this machine, as far as it knows.
func strange(t *testing.T) (*Relay, *metric.Set) {
	r, m := newRelay(t, 2)
	r.machine.addrs.Store(&map[netip.Addr]bool{})
	return r, m
}

func TestThirdPartyIsNotHeard(t *testing.T) {
	r, m := strange(t)
	br, a, b := open(t, r), newFar(t), newFar(t)
	elsewhere := Peer{Signal: netip.MustParseAddr("192.0.2.7")}
	for _, step := range []struct {
		from, to string
		f, told  *far
	}{{"A", "B1", a, b}, {"B1", "A", b, a}} {
		addr := "127.0.0.1"
		if step.from == "A" {
			addr = "192.0.2.7"
		}
		out, err := br.Pass(step.from, step.to, step.f.sdpAt(addr), elsewhere, here())
		if err != nil {
			t.Fatal(err)
		}
		step.told.told(out)
	}
	br.Join("B1")
	a.send('1') // from 127.0.0.1, while A is at 192.0.2.7
	waitFor(t, "drop", func() bool { return dropCount(m, stranger) == 1 })
	if st := br.State(); st.A.Packets != 0 || !st.Heard.IsZero() {
		t.Errorf("a stranger counted: %+v", st)
	}
	br.mu.Lock()
	latched := br.find("A").streams[0].media.latched
	br.mu.Unlock()
	if latched.IsValid() {
		t.Errorf("latched to %s", latched)
	}
}

func TestWholeMachineIsOneSource(t *testing.T) {
	m := &machine{}
	lan, tail := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")
	m.addrs.Store(&map[netip.Addr]bool{lan: true, tail: true})
	var o origins
	for _, c := range []struct {
		known, from string
		want        bool
	}{
		{"192.0.2.10", "127.0.0.1", true}, // baresip on this machine
		{"192.0.2.10", "2001:db8::10", true},
		{"127.0.0.1", "192.0.2.10", true},
		{"192.0.2.11", "127.0.0.1", false},
		{"192.0.2.11", "192.0.2.10", false},
		{"192.0.2.11", "192.0.2.11", true},
		{"192.0.2.10", "192.0.2.11", false},
		{"0.0.0.0", "192.0.2.10", false},
		{"fe80::1", "fe80::1%eth0", true},
	} {
		o.set(m, netip.MustParseAddr(c.known))
		if got := o.allow(m, netip.MustParseAddr(c.from)); got != c.want {
			t.Errorf("known %s, from %s: got %v, want %v", c.known, c.from, got, c.want)
		}
	}
	m.look()
	if !m.has(loopback) {
		t.Error("127.0.0.1 is not ours")
	}
}

func TestJunkIsDropped(t *testing.T) {
	r, m := newRelay(t, 2)
	_, a, b := answered(t, r)
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)
	long := make([]byte, maxPacket+1)
	long[0] = 0x80
	for i, pkt := range [][]byte{{}, {0x80}, packet(1, 'x')[:11], stun, append([]byte{0x40}, packet(1, 'x')[1:]...), long} {
		sendTo(t, a.rtp, a.relay, pkt)
		waitFor(t, "drop", func() bool { return dropCount(m, malformed) == uint64(i+1) })
	}
	sendTo(t, a.rtcp, a.relayRTCP(), packet(1, 'x')) // RTP on the RTCP port
	waitFor(t, "drop", func() bool { return dropCount(m, malformed) == 7 })
	a.send('z')
	silence(t, b.rtp, "junk")
}

func TestHoldAndResume(t *testing.T) {
	r, m := newRelay(t, 2)
	br, a, b := answered(t, r)
	aPort, bPort := a.relay, b.relay
	nat := listen(t, loopback)
	sendTo(t, nat, a.relay, packet(1, '1'))
	hear(t, b.rtp, 12, '1')
	for i, hold := range []struct{ offer, answer []byte }{
		{a.sdp("a=sendonly"), b.sdp("a=recvonly")},
		{a.sdp("a=inactive"), b.sdp("a=inactive")},
		{a.sdpAt("0.0.0.0"), b.sdp()},
	} {
		held := pass(t, br, "A", "B1", hold.offer)
		b.told(held)
		a.told(pass(t, br, "B1", "A", hold.answer))
		if !br.State().Held {
			t.Errorf("hold %d: not held", i)
		}
		if b.relay.Port() != bPort.Port() || a.relay != aPort {
			t.Errorf("hold %d: ports changed", i)
		}
	}
	b.relay = bPort
	b.send('2') // nothing may be sent to 0.0.0.0
	waitFor(t, "drop", func() bool { return dropCount(m, nowhere) == 1 })
	b.told(pass(t, br, "A", "B1", a.sdp("a=sendrecv")))
	a.told(pass(t, br, "B1", "A", b.sdp("a=sendrecv")))
	if br.State().Held {
		t.Error("still held after resume")
	}
	if b.relay != bPort || a.relay != aPort {
		t.Error("resume changed ports")
	}
	b.send('z')
	silence(t, nat, "hold")
}

func TestForkIsHeardUntilOneWins(t *testing.T) {
	r, m := newRelay(t, 6)
	br, a, b1, b2 := open(t, r), newFar(t), newFar(t), newFar(t)
	b1.told(pass(t, br, "A", "B1", a.sdp()))
	b2.told(pass(t, br, "A", "B2", a.sdp()))
	if b1.relay == b2.relay {
		t.Errorf("both forks were told %s", b1.relay)
	}
	a.told(pass(t, br, "B1", "A", b1.sdp()))
	a1 := a.relay
	b1.send('1')
	hear(t, a.rtp, 12, '1')
	a.told(pass(t, br, "B2", "A", b2.sdp()))
	if a.relay != a1 {
		t.Errorf("A's port changed from %s to %s", a1, a.relay)
	}
	b2.send('2')
	hear(t, a.rtp, 12, '2')
	b1.send('3')
	waitFor(t, "drop", func() bool { return dropCount(m, unjoined) == 1 })
	if used, _, _ := r.Ports(); used != 6 {
		t.Errorf("%d ports, want 6 while forking", used)
	}
	br.Join("B1")
	b1.send('4')
	hear(t, a.rtp, 12, '4')
	if used, _, resting := r.Ports(); used != 4 || resting != 2 {
		t.Errorf("%d used, %d resting, want 4 and 2 once joined", used, resting)
	}
	pass(t, br, "B2", "A", b2.sdp()) // an answer that comes too late
	b1.send('5')
	hear(t, a.rtp, 12, '5')
	br.Drop("B2")
	if st := br.State(); st.B.Packets != 4 {
		t.Errorf("B sent %d packets, want the winner's 4", st.B.Packets)
	}
	br.Drop("B1")
	br.Drop("B9")
	if used, _, _ := r.Ports(); used != 2 {
		t.Errorf("%d ports, want A's 2", used)
	}
}

func TestLateOffer(t *testing.T) {
	r, _ := newRelay(t, 2)
	br, a, b := open(t, r), newFar(t), newFar(t)
	a.told(pass(t, br, "B1", "A", b.sdp()))
	br.Join("B1")
	b.told(pass(t, br, "A", "B1", a.sdp()))
	a.send('1')
	hear(t, b.rtp, 12, '1')
	b.send('2')
	hear(t, a.rtp, 12, '2')
	if got := br.State().Codec; got != "PCMU" {
		t.Errorf("codec %q, want PCMU", got)
	}
}

func TestSeveralStreams(t *testing.T) {
	r, _ := newRelay(t, 8)
	br, a, b, av, bv := open(t, r), newFar(t), newFar(t), newFar(t), newFar(t)
	video := func(f *far) string {
		return fmt.Sprintf("m=video %d RTP/AVP 96\r\na=rtpmap:96 H264/90000", port(f.rtp))
	}
	bd, err := parse(pass(t, br, "A", "B1", a.sdp(video(av))))
	if err != nil {
		t.Fatal(err)
	}
	ad, err := parse(pass(t, br, "B1", "A", b.sdp(video(bv))))
	if err != nil {
		t.Fatal(err)
	}
	br.Join("B1")
	av.relay = netip.AddrPortFrom(loopback, ad.streams[1].port)
	av.send('v')
	if from := hear(t, bv.rtp, 12, 'v'); from.Port() != bd.streams[1].port {
		t.Errorf("video from port %d, want %d", from.Port(), bd.streams[1].port)
	}
	if used, _, _ := r.Ports(); used != 8 {
		t.Errorf("%d ports, want 8", used)
	}
	pass(t, br, "A", "B1", a.sdp("m=video 0 RTP/AVP 96")) // video is given up
	pass(t, br, "B1", "A", b.sdp("m=video 0 RTP/AVP 96"))
	if used, _, _ := r.Ports(); used != 4 {
		t.Errorf("%d ports, want 4 without video", used)
	}
	pass(t, br, "A", "B1", a.sdp(video(av))) // comes back, and is refused
	out := pass(t, br, "B1", "A", b.sdp("m=video 0 RTP/AVP 96"))
	if !strings.Contains(string(out), "m=video 0 ") {
		t.Errorf("got %q, want video refused", out)
	}
	if used, _, _ := r.Ports(); used != 4 {
		t.Errorf("%d ports, want 4 after a refused stream", used)
	}
	br.Close()
}

func TestFaxPassesUnread(t *testing.T) {
	r, _ := newRelay(t, 2)
	br, a, b := answered(t, r)
	fax := func(f *far) []byte {
		return []byte(strings.Replace(string(f.sdp()), "RTP/AVP 0 8", "udptl t38", 1))
	}
	pass(t, br, "A", "B1", fax(a))
	pass(t, br, "B1", "A", fax(b))
	sendTo(t, a.rtp, a.relay, []byte{0, 1, 'f'})
	hear(t, b.rtp, 2, 'f')
}

func TestDTLSPassesWhereOffered(t *testing.T) {
	r, m := newRelay(t, 4)
	hello := []byte{22, 0xfe, 0xff, 0, 'd'}
	_, a, b := answered(t, r, "a=fingerprint:sha-256 00:11")
	sendTo(t, a.rtp, a.relay, hello)
	hear(t, b.rtp, 4, 'd')
	_, a, _ = answered(t, r)
	sendTo(t, a.rtp, a.relay, hello)
	waitFor(t, "drop", func() bool { return dropCount(m, malformed) == 1 })
}

func TestPortsRestAndRunOut(t *testing.T) {
	r, _ := newRelay(t, 5)
	first, _, _ := answered(t, r)
	second, _, _ := answered(t, r)
	if _, err := r.Open("x", func() {}); !errors.Is(err, roam.NoCapacity) {
		t.Errorf("third call: got %v, want %v", err, roam.NoCapacity)
	}
	third := newFar(t)
	body := third.sdp(fmt.Sprintf("m=video %d RTP/AVP 96", port(third.rtcp)))
	if _, err := second.Pass("A", "B1", body, here(), here()); !errors.Is(err, roam.NoCapacity) {
		t.Errorf("video: got %v, want %v", err, roam.NoCapacity)
	}
	if used, _, _ := r.Ports(); used != 8 {
		t.Errorf("%d ports, want 8: what was opened in vain is given back", used)
	}
	ports := map[int]bool{first.find("A").streams[0].ports.port: true, first.find("B1").streams[0].ports.port: true}
	first.Close()
	second.Close()
	_, a, b := answered(t, r) // little has rested: one pair is fresh, the other the longest resting
	if !ports[int(a.relay.Port())] && !ports[int(b.relay.Port())] {
		t.Errorf("got ports %d and %d, want one of the first call's, %v", a.relay.Port(), b.relay.Port(), ports)
	}
}

func TestOccupiedPortsArePassedOver(t *testing.T) {
	r, _ := newRelay(t, 3)
	low, _, err := portRange(r.cfg.Ports)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: low + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, a, b := answered(t, r)
	if int(a.relay.Port()) == low || int(b.relay.Port()) == low {
		t.Errorf("took port %d, whose RTCP port is occupied", low)
	}
	a.send('1')
	hear(t, b.rtp, 12, '1')
	if !free(low, 1) {
		t.Errorf("port %d was left open", low)
	}
}

func TestSilence(t *testing.T) {
	r, m := newRelay(t, 4)
	var told atomic.Int32
	br, err := r.Open("c7f2", func() { told.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	a, b := newFar(t), newFar(t)
	b.told(pass(t, br, "A", "B1", a.sdp()))
	start := time.Now()
	check := func(after time.Duration, want int32, when string) {
		t.Helper()
		r.scan(start.Add(after))
		if got := told.Load(); got != want {
			t.Errorf("%s: silent called %d times, want %d", when, got, want)
		}
	}
	check(time.Hour, 0, "ringing for an hour")
	a.told(pass(t, br, "B1", "A", b.sdp("a=recvonly")))
	br.Join("B1")
	start = time.Now()
	check(29*time.Minute, 0, "held for 29 minutes")
	pass(t, br, "B1", "A", b.sdp())
	check(59*time.Second, 0, "59 s after the answer")
	time.Sleep(2 * time.Millisecond)
	b.report(b.rtcp, b.relayRTCP(), '1') // RTCP of one side is enough
	hear(t, a.rtcp, 7, '1')
	heard := br.State().Heard
	check(heard.Sub(start)+time.Minute-time.Millisecond, 0, "just under a minute after RTCP")
	check(heard.Sub(start)+time.Minute, 1, "a minute after RTCP")
	check(2*time.Hour, 1, "later")
	if n, _ := r.silences.Count(); n != 1 {
		t.Errorf("%d timeouts counted, want 1", n)
	}
	held, _, _ := answered(t, r, "a=inactive")
	start = time.Now()
	if check(30*time.Minute+time.Second, 1, "the other call"); !held.told {
		t.Error("a call on hold for half an hour is not silent")
	}
	if len(m.Families()) != 6 {
		t.Errorf("%d metric families", len(m.Families()))
	}
}

func TestOwnPortsAreNoFarEnd(t *testing.T) {
	r, _ := newRelay(t, 4)
	br, a, b := answered(t, r)
	loop := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n", b.relay.Port())
	if _, err := br.Pass("A", "B1", []byte(loop), here(), here()); !errors.Is(err, roam.NotAcceptable) {
		t.Errorf("got %v, want %v", err, roam.NotAcceptable)
	}
	a.send('1')
	hear(t, b.rtp, 12, '1')
}

func TestTold(t *testing.T) {
	lan, far, pub := netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("198.51.100.4"), netip.MustParseAddr("203.0.113.20")
	phone := netip.MustParseAddr("10.2.0.31")
	six := netip.MustParseAddr("2001:db8::1")
	nets := []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}
	for name, c := range map[string]struct {
		addr, adv netip.Addr
		peer      Peer
		want      netip.Addr
	}{
		"bound address, no other":     {lan, netip.Addr{}, Peer{Signal: far}, lan},
		"local phone":                 {lan, pub, Peer{Signal: phone}, lan},
		"local phone, Here is other":  {lan, pub, Peer{Signal: phone, Here: six}, lan},
		"phone outside":               {lan, pub, Peer{Signal: far}, pub},
		"partner in our network":      {lan, pub, Peer{Signal: phone, Partner: true}, pub},
		"wildcard":                    {netip.IPv4Unspecified(), netip.Addr{}, Peer{Signal: far, Here: lan}, lan},
		"wildcard, local phone":       {netip.IPv6Unspecified(), pub, Peer{Signal: phone, Here: six}, six},
		"wildcard, phone outside":     {netip.IPv6Unspecified(), pub, Peer{Signal: far, Here: lan}, pub},
		"wildcard, this machine":      {netip.IPv4Unspecified(), pub, Peer{Signal: loopback, Here: loopback}, loopback},
		"wildcard and nothing else":   {netip.IPv4Unspecified(), netip.Addr{}, Peer{Signal: far}, loopback},
		"IPv4 in IPv6 is IPv4":        {netip.IPv6Unspecified(), netip.Addr{}, Peer{Here: netip.MustParseAddr("::ffff:10.2.0.1")}, lan},
		"IPv6 phone, IPv4 advertised": {netip.IPv6Unspecified(), pub, Peer{Signal: netip.MustParseAddr("2001:db8::9"), Here: six}, six},
		"partner, nothing advertised": {lan, netip.Addr{}, Peer{Signal: far, Partner: true}, lan},
	} {
		r := &Relay{cfg: Config{Addr: c.addr, Advertise: c.adv, LocalNetworks: nets}}
		if got := r.told(c.peer); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestIPv6(t *testing.T) {
	six := netip.IPv6Loopback()
	probe, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Logf("no IPv6 here: %v", err)
		return
	}
	_ = probe.Close()
	r, _ := newRelay(t, 2, func(c *Config) { c.Addr = netip.IPv6Unspecified() })
	br, a := open(t, r), &far{t: t, rtp: listen(t, six), rtcp: listen(t, six)}
	b := newFar(t) // one phone on IPv6, one on IPv4, the relay between
	p6, p4 := Peer{Signal: six, Here: six}, Peer{Signal: loopback, Here: loopback}
	out, err := br.Pass("A", "B1", a.sdpAt("::1"), p6, p4)
	if err != nil {
		t.Fatal(err)
	}
	b.told(out)
	if out, err = br.Pass("B1", "A", b.sdp(), p4, p6); err != nil {
		t.Fatal(err)
	}
	a.told(out)
	if a.relay.Addr() != six || b.relay.Addr() != loopback {
		t.Errorf("told %s and %s", a.relay, b.relay)
	}
	br.Join("B1")
	a.send('1')
	hear(t, b.rtp, 12, '1')
	b.send('2')
	hear(t, a.rtp, 12, '2')
}

// TestSeveralAddresses: each far end is told the address that it met us at, and hears from it; one that meets us
// elsewhere later is told so, with ports of their own.
func TestSeveralAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("127.0.0.2 is not ours here")
		return
	}
	r, _ := newRelay(t, 3, func(c *Config) { c.Addr = netip.IPv4Unspecified() })
	br, a, b := open(t, r), newFar(t), newFar(t)
	second := netip.MustParseAddr("127.0.0.2")
	pa, pb := Peer{Signal: loopback, Here: loopback}, Peer{Signal: loopback, Here: second}
	say := func(from, to string, sdp []byte, peer, toPeer Peer) []byte {
		t.Helper()
		out, err := br.Pass(from, to, sdp, peer, toPeer)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	both := func() {
		t.Helper()
		a.send('1')
		if from := hear(t, b.rtp, 12, '1'); from != b.relay {
			t.Errorf("B heard from %s, want %s", from, b.relay)
		}
		b.send('2')
		if from := hear(t, a.rtp, 12, '2'); from != a.relay {
			t.Errorf("A heard from %s, want %s", from, a.relay)
		}
	}
	b.told(say("A", "B1", a.sdp(), pa, pb))
	a.told(say("B1", "A", b.sdp(), pb, pa))
	br.Join("B1")
	if a.relay.Addr() != loopback || b.relay.Addr() != second {
		t.Errorf("told %s and %s, want %s and %s", a.relay, b.relay, loopback, second)
	}
	both()
	old := a.relay
	pa.Here = netip.MustParseAddr("127.0.0.3")
	b.told(say("A", "B1", a.sdp(), pa, pb)) // its offer comes to the new address
	a.told(say("B1", "A", b.sdp(), pb, pa))
	if a.relay.Addr() != pa.Here || a.relay.Port() == old.Port() || b.relay.Addr() != second {
		t.Errorf("moved: told %s and %s", a.relay, b.relay)
	}
	both()
	if used, _, _ := r.Ports(); used != 8 && used != 4 {
		t.Errorf("%d ports in use after a move, want those of two legs", used)
	}
}

// TestBindTo is what a leg's ports are bound to.
func TestBindTo(t *testing.T) {
	any4, any6, none := netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.Addr{}
	for _, c := range []struct{ addr, here, want netip.Addr }{
		{loopback, netip.MustParseAddr("127.0.0.2"), loopback},
		{any4, loopback, loopback},
		{any6, loopback, loopback},
		{any6, netip.MustParseAddr("::ffff:127.0.0.1"), loopback},
		{any6, netip.IPv6Loopback(), netip.IPv6Loopback()},
		{any4, netip.IPv6Loopback(), any4},
		{any4, netip.MustParseAddr("192.0.2.200"), any4}, // not ours: the outside of a NAT
		{any6, netip.MustParseAddr("fe80::1%lo"), any6},
		{any4, none, any4},
		{any6, any6, any6},
	} {
		r := &Relay{cfg: Config{Addr: c.addr}}
		if got := r.bindTo(Peer{Here: c.here}); got != c.want {
			t.Errorf("bound to %s, met at %s: got %s, want %s", c.addr, c.here, got, c.want)
		}
	}
}

// TestLinkLocal: a phone in SDP that says fe80::… is on the link that its signalling comes by.
func TestLinkLocal(t *testing.T) {
	here, found := linkLocal()
	if !found {
		t.Log("no link-local address here")
		return
	}
	r, _ := newRelay(t, 2, func(c *Config) { c.Addr = netip.IPv6Unspecified() })
	br, a, b := open(t, r), &far{t: t, rtp: listen(t, here), rtcp: listen(t, here)}, newFar(t)
	plain := here.WithZone("")
	pa, pb := Peer{Signal: here, Here: plain}, Peer{Signal: loopback, Here: loopback}
	out, err := br.Pass("A", "B1", a.sdpAt(plain.String()), pa, pb)
	if err != nil {
		t.Fatal(err)
	}
	b.told(out)
	if out, err = br.Pass("B1", "A", b.sdp(), pb, pa); err != nil {
		t.Fatal(err)
	}
	a.told(out)
	if a.relay.Addr() != plain {
		t.Errorf("told %s, want %s", a.relay.Addr(), plain)
	}
	a.relay = netip.AddrPortFrom(here, a.relay.Port()) // a phone knows its link
	br.Join("B1")
	b.send('1') // before A was heard: to where its SDP says
	hear(t, a.rtp, 12, '1')
	a.send('2')
	hear(t, b.rtp, 12, '2')
	b.send('3')
	hear(t, a.rtp, 12, '3')
}

// linkLocal is a link-local address of this machine, with its zone.
func linkLocal() (netip.Addr, bool) {
	all, _ := net.Interfaces()
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() && i.Flags&net.FlagUp != 0 {
				return p.Addr().WithZone(i.Name), true
			}
		}
	}
	return netip.Addr{}, false
}

func TestUnusableSDPChangesNothing(t *testing.T) {
	r, _ := newRelay(t, 2)
	br, a, b := answered(t, r)
	if _, err := br.Pass("A", "B1", []byte("v=0\r\nm=audio"), here(), here()); !errors.Is(err, roam.NotAcceptable) {
		t.Errorf("got %v, want %v", err, roam.NotAcceptable)
	}
	a.send('1')
	hear(t, b.rtp, 12, '1')
}

func TestConfig(t *testing.T) {
	good := DefaultConfig()
	if err := good.Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"media.ports: \"20000\" is not a range":    func(c *Config) { c.Ports = "20000" },
		"not within 1024-65535":                    func(c *Config) { c.Ports = "20000-70000" },
		"no room for a call":                       func(c *Config) { c.Ports = "20001-20004" },
		"media.dscp: 64":                           func(c *Config) { c.DSCP = 64 },
		"media.idle: 0s":                           func(c *Config) { c.Idle = 0 },
		"media.idle_on_hold: 1s is below":          func(c *Config) { c.IdleOnHold = roam.Duration(time.Second) },
		"media.ports: \"a-b\" is not a range such": func(c *Config) { c.Ports = "a-b" },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s", err, name)
		}
		if _, err := New(c, nil, zerolog.Nop()); err == nil {
			t.Errorf("%s: a relay was made", name)
		}
	}
}

func TestRelayCloseEndsAll(t *testing.T) {
	r, _ := newRelay(t, 4)
	br, _, _ := answered(t, r)
	r.Close()
	r.Close()
	if used, _, _ := r.Ports(); used != 0 {
		t.Errorf("%d ports in use after Close", used)
	}
	if _, err := r.Open("x", func() {}); !errors.Is(err, roam.NoCapacity) {
		t.Errorf("got %v, want %v", err, roam.NoCapacity)
	}
	br.Join("B1")
	br.Drop("A")
}
