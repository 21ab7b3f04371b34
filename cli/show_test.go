package cli

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
)

func TestWhereText(t *testing.T) {
	now := time.Date(2026, 11, 22, 17, 25, 3, 0, time.UTC)
	w := office.Whereabouts{
		User: "1001@north.example", Name: "alice", Number: "+15550001001", Home: "north", At: "south", From: "north", Move: 7,
		Since: time.Date(2026, 11, 22, 15, 14, 3, 0, time.UTC), Switch: "sip:sip.south.example:5067;transport=tls", Source: "routing store (fresh)", Zone: "America/Chicago",
		Phones: []office.PhoneAt{{Office: "south", Agent: "Linphone 5.2", Addr: "10.2.0.31:51791", Transport: "UDP", Device: `"<urn:uuid:eff19d1f-0000>"`, Until: now.Add(212 * time.Second)}},
	}
	want := `1001@north.example   alice   +15550001001
at       south, visiting, online
since    2026-11-22 09:14:03 -06:00 (2 h 11 min)     move 7, from north
phone    Linphone 5.2   10.2.0.31:51791 udp   device eff19d1f   refresh due in 212 s
served   sip:sip.south.example:5067;transport=tls    alive
source   routing store (fresh)
`
	var out bytes.Buffer
	writeWhere(&out, &w, now)
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	w = office.Whereabouts{User: "1002@north.example", Home: "north", Source: "routing store (fresh)"}
	out.Reset()
	writeWhere(&out, &w, now)
	if want := "at       offline; home is north\n"; !strings.Contains(out.String(), want) {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestLadder(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.Local)
	var out bytes.Buffer
	l := newLadder(&out, []string{"north", "south"})
	for i, s := range []office.Seen{
		{Office: "south", Method: "REGISTER", From: "1001@north.example", To: "1001@north.example", Remote: "127.0.0.1:40000", Transport: "UDP"},
		{Office: "south", Sent: true, Partner: "north", Method: "REGISTER", From: "1001@north.example", To: "1001@north.example"},
		{Office: "north", Partner: "south", Method: "REGISTER", From: "1001@north.example", To: "1001@north.example"}, // the same again: not drawn
		{Office: "north", Sent: true, Partner: "south", Status: 401, Reason: "Unauthorized", Method: "REGISTER", From: "1001@north.example", To: "1001@north.example"},
		{Office: "north", Partner: "west", Method: "INVITE", From: "3001@west.example", To: "1001@north.example"},
	} {
		s.Time = at.Add(time.Duration(i) * time.Millisecond)
		if err := l.draw(s); err != nil {
			t.Fatal(err)
		}
	}
	want := `              phones                north                 south
09:00:00.000  │───────────────── REGISTER ─────────────────▶│  1001@north.example  127.0.0.1:40000 udp
09:00:00.001  │                     │◀───── REGISTER ──────│  1001@north.example
09:00:00.003  │                     │──── 401 REGISTER ───▶│  1001@north.example  Unauthorized
              phones                north                 south                 west
09:00:00.004  │                     │◀────────────────── INVITE ─────────────────│  3001@west.example > 1001@north.example
`
	got := out.String()
	if lines := strings.Split(got, "\n"); len(lines) != len(strings.Split(want, "\n")) {
		t.Fatalf("got\n%s\nwant about\n%s", got, want)
	}
	for i, line := range strings.Split(got, "\n") {
		if wide := []rune(line); len(wide) > 14 && wide[0] == '0' && (!strings.Contains(line, "│") || !strings.ContainsAny(line, "▶◀")) {
			t.Errorf("line %d: no arrow: %s", i, line)
		}
	}
	for _, want := range []string{"◀────", "401 REGISTER", "west", "3001@west.example > 1001@north.example"} {
		if !strings.Contains(got, want) {
			t.Errorf("got no %q in\n%s", want, got)
		}
	}
}

// TestCapture: a capture is what Wireshark reads: its header, then IP and UDP with right lengths and checksums.
func TestCapture(t *testing.T) {
	var out bytes.Buffer
	c, err := newCapture(&out)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []office.Seen{
		{Time: time.Unix(1, 2000), Local: "127.0.0.1:5060", Remote: "192.0.2.1:40000", Raw: []byte("OPTIONS sip:x SIP/2.0\r\n\r\n")},
		{Time: time.Unix(1, 2000), Sent: true, Local: "[2001:db8::1]:5060", Remote: "[2001:db8::2]:40000", Raw: []byte("odd")},
	} {
		if err := c.write(s); err != nil {
			t.Fatal(err)
		}
	}
	b := out.Bytes()
	if binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 || binary.LittleEndian.Uint32(b[20:]) != linkRaw {
		t.Fatalf("got header % x", b[:24])
	}
	b = b[24:]
	for _, want := range []struct {
		version  byte
		from, to uint16
		data     string
	}{{4, 40000, 5060, "OPTIONS sip:x SIP/2.0\r\n\r\n"}, {6, 5060, 40000, "odd"}} {
		n := binary.LittleEndian.Uint32(b[8:])
		p := b[16 : 16+n]
		b = b[16+n:]
		if p[0]>>4 != want.version {
			t.Fatalf("got IPv%d, want IPv%d", p[0]>>4, want.version)
		}
		head, addrs := ipHeader, p[12:20]
		if want.version == 6 {
			head, addrs = ip6Header, p[8:40]
		} else if checksum(p[:head]) != 0 {
			t.Error("the checksum of the IP header is wrong")
		}
		udp := p[head:]
		pseudo := append(append([]byte{}, addrs...), 0, 0, byte(len(udp)>>8), byte(len(udp)), 0, 0, 0, 17)
		if checksum(append(pseudo, udp...)) != 0 {
			t.Error("the checksum of the datagram is wrong")
		}
		if from, to := binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:]); from != want.from || to != want.to || string(udp[8:]) != want.data {
			t.Errorf("got %d -> %d %q, want %d -> %d %q", from, to, udp[8:], want.from, want.to, want.data)
		}
	}
	if len(b) != 0 {
		t.Errorf("%d bytes left", len(b))
	}
}

// TestExplainText: what people read has the shape that they know.
func TestExplainText(t *testing.T) {
	now := time.Date(2026, 11, 22, 17, 25, 3, 0, time.UTC)
	until, rev := now.Add(212*time.Second), uint64(now.Add(-time.Hour).UnixMicro())
	profile := &roam.Profile{Version: 1, Rev: rev, Name: "alice", Number: "+15550001001", Calls: 2, Bar: []string{"+1900"}, Forward: &roam.Forward{Busy: "+15550002001"}}
	desk, soft := roam.Device(`"<urn:uuid:0a1b2c3d-0000>"`), roam.Device(`"<urn:uuid:eff19d1f-0000>"`)
	visiting := office.Explanation{
		Whereabouts: office.Whereabouts{User: "1001@north.example", Home: "north", At: "south", Move: 7, Source: "routing store (fresh)", Zone: "UTC", Phones: []office.PhoneAt{
			{Office: "north", Agent: "Yealink", Addr: "10.1.0.44:5060", Transport: "UDP", Device: desk, Until: until},
			{Office: "south", Agent: "Linphone 5.2", Addr: "10.2.0.31:51791", Transport: "TCP", Device: soft, Until: until}}},
		AtHome: &office.Standing{Home: "north", Profile: profile, Owed: []string{"sip:west"}, Stays: []office.Stay{
			{Office: "north", Epoch: 40, Until: until, Device: desk, Check: &office.Check{By: "north", Rev: rev}},
			{Office: "south", Epoch: 41, Until: until, Device: soft, Can: &roam.Abilities{Transport: roam.TCP, Supported: []string{"outbound"}},
				Speaks: &roam.Attributes{Software: "siproam", Transports: []string{"tls"}, CallsMax: 9}, Lacks: []string{"bar"}}}},
		There: &office.Standing{Visitor: true, Home: "north", Profile: profile, Cannot: []string{"voicemail"}, Stays: []office.Stay{
			{Office: "south", Epoch: 41, Until: until, Device: soft, Ticket: until, Check: &office.Check{By: "north", Millis: 18.34, At: now, Rev: rev}}}},
		Policy: []string{"agreement north -> south: admitted, roamers: no lists", "agreement south <- north: admitted, visitors: no lists; 3 of 50 visitors; home silent: admit-known"},
		Next:   until, Asking: "west",
		Call:  []string{"west reads the routing store: south, move 7", "west sends INVITE to south (sip:s)", "south rings 10.2.0.31:51791 (tcp)"},
		Moves: []routesrv.Move{{Move: 7, At: "2026-11-22T15:14:03.000Z", From: "north", To: "south", Why: "registered", Device: soft}},
	}
	alone := office.Explanation{
		Whereabouts: office.Whereabouts{User: "1001@north.example", Home: "north", At: "south", Source: "routing store (away; remembered)", Zone: "UTC"},
		There: &office.Standing{Visitor: true, Home: "north", Profile: profile, Rests: &until, Ends: &until, Stays: []office.Stay{
			{Office: "south", Epoch: 41, Until: until, Ticket: until, Provisional: until, Check: &office.Check{By: "south", At: now, Millis: 4000, Rev: rev}}}},
		Asking: "south", Call: []string{"south rings 10.2.0.31:51791 (tcp)"}, Unread: "the store is away",
	}
	pbx := office.Explanation{
		Whereabouts: office.Whereabouts{User: "8001@pbx.example", Home: "pbx", Foreign: true, At: "south", Source: "routing store (fresh)", Zone: "UTC"},
		There:       &office.Standing{Visitor: true, Home: "pbx", Stays: []office.Stay{{Office: "south", Epoch: 41, Until: until, Check: &office.Check{By: "pbx", Foreign: true, At: now, Millis: 2}}}},
		Asking:      "south", Call: []string{"south rings 10.2.0.31:51791 (tcp)"},
	}
	absent := office.Explanation{
		Whereabouts: office.Whereabouts{User: "8001@pbx.example", Home: "pbx", Foreign: true, Source: "routing store (fresh)", Zone: "UTC"},
		Asking:      "south", Call: []string{"south sends INVITE to pbx (sip:192.0.2.9), by way of home, which is no siproam and rings its own"},
	}
	for name, c := range map[string]struct {
		x    *office.Explanation
		want string
	}{
		"visiting": {&visiting, `1001@north.example is at south (move 7)
why      REGISTER 17:25:03 at south, digest checked by north in 18 ms, profile v1 of 2026-11-22 16:25:03
         REGISTER before the start of north, digest checked by north, profile v1 of 2026-11-22 16:25:03
         home's record: at north until 17:28:35, epoch 40, device 0a1b2c3d
         home's record: at south until 17:28:35, epoch 41, device eff19d1f
         the device there came by tcp, has outbound
         south is siproam, speaks tls, at most 9 calls
         south does not perform: bar
         home still has to tell sip:west that the user has left
         visited office's record: at south until 17:28:35, epoch 41, device eff19d1f, home's word holds until 2026-11-22 17:28
source   routing store (fresh)
policy   agreement north -> south: admitted, roamers: no lists
         agreement south <- north: admitted, visitors: no lists; 3 of 50 visitors; home silent: admit-known
profile  v1, name alice, number +15550001001, at most 2 calls, may not dial +1900, calls go when busy to +15550002001
         not possible at south: voicemail
phone    Linphone 5.2   10.2.0.31:51791 tcp   device eff19d1f   refresh due in 212 s
older    Yealink   10.1.0.44:5060 udp   device 0a1b2c3d   at north   refresh due in 212 s   rings too
next     refresh due 17:28:35; otherwise offline
a call from west now would
  1  west reads the routing store: south, move 7
  2  west sends INVITE to south (sip:s)
  3  south rings 10.2.0.31:51791 (tcp)
moves
  7    2026-11-22 15:14:03  north -> south   registered, device eff19d1f
`},
		"home silent": {&alone, `1001@north.example is at south
why      REGISTER 17:25:03 at south, admitted by south itself: north is silent, and its word of before holds, profile v1 of 2026-11-22 16:25:03
         visited office's record: at south until 17:28:35, epoch 41, home's word holds until 2026-11-22 17:28, not recorded by home yet: the registration message is repeated until 17:28:35
         visited office's record: offline, which home was not told; back by one message until 17:28:35
         visited office's record: over; home did not answer, and is told again until 17:28:35
source   routing store (away; remembered)
profile  v1, name alice, number +15550001001, at most 2 calls, may not dial +1900, calls go when busy to +15550002001
a call from south now would
  1  south rings 10.2.0.31:51791 (tcp)
moves
  not read: the store is away
`},
		"foreign home": {&pbx, `8001@pbx.example is at south
why      REGISTER 17:25:03 at south, accepted by pbx in 2 ms
         visited office's record: at south until 17:28:35, epoch 41
source   routing store (fresh)
profile  known at home only
a call from south now would
  1  south rings 10.2.0.31:51791 (tcp)
`},
		"foreign home, absent": {&absent, `8001@pbx.example is at none of our offices; home is pbx, which is no siproam and knows
source   routing store (fresh)
profile  known at home only
a call from south now would
  1  south sends INVITE to pbx (sip:192.0.2.9), by way of home, which is no siproam and rings its own
`},
	} {
		var out bytes.Buffer
		writeExplanation(&out, c.x, now)
		if out.String() != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, out.String(), c.want)
		}
	}
}
