package softswitch

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

const acmeCarol = roam.UserID("carol@acme.example")

// foreign makes acme, a home that is no siproam: one node that is its proxy and all its phones.
func (net *network) foreign() *phone {
	net.acme = netip.MustParseAddrPort("203.0.113.9:5060")
	acme := net.phone("bob@acme.example", net.acme.String())
	for id, ip := range map[roam.OfficeID]string{"north": "192.0.2.1:5070", "south": "192.0.2.2:5070", "west": "192.0.2.3:5070"} {
		o := net.offices[id]
		o.addrs = append(o.addrs, netip.MustParseAddrPort(ip))
		net.nodes[o.addrs[2]] = o.node
		o.do(func() {
			o.sw.cfg.Foreign = map[roam.OfficeID]*roam.Foreign{"acme": {Domain: "acme.example", Registrar: "sip:203.0.113.9:5060"}}
		})
	}
	return acme
}

// visits registers a phone of carol's at o.
func (net *network) visits(o *office, addr string, d roam.Device) *phone {
	p := net.phone(acmeCarol, addr)
	p.at = o
	o.do(func() {
		line := o.dir.lines[acmeCarol]
		line.User, line.Visitor = acmeCarol, true
		line.Home = roam.Card{Office: "acme", Domains: []string{"acme.example"}, Switch: "sip:203.0.113.9:5060", Foreign: true}
		line.Targets = append(line.Targets, roam.Target{URI: "sip:" + addr, Device: d, Flow: roam.Flow{Transport: p.tr, Local: o.addrs[0], Remote: p.addrs[0]}})
		o.dir.lines[acmeCarol], o.dir.names[sip.AOR(acmeCarol)] = line, acmeCarol
		o.dir.flows[p.addrs[0]] = []roam.UserID{acmeCarol}
	})
	net.router.locs[acmeCarol] = roam.Location{Epoch: 5, Office: o.id, Switch: o.sw.cfg.Card.Switch}
	return p
}

// asAcme has acme call uri at north's listener for it, as from.
func (acme *phone) asAcme(from, uri string, fields ...sip.Field) {
	acme.got = nil
	acme.do(func() {
		in := dialog.Invite{To: transaction.Destination{Flow: acme.net.flow(roam.UDP, acme.addrs[0], netip.MustParseAddrPort("192.0.2.1:5070"))},
			URI: uri, From: sip.Address{Display: "Someone", Raw: "sip:" + from}, ToAddr: sip.Address{Raw: uri}, Fields: fields, Type: sdpType, Body: []byte("offer")}
		acme.d = acme.table.Invite(in, acme)
	})
	acme.net.pass(3 * time.Second)
	if acme.last() == 200 {
		acme.bye()
	}
	acme.net.pass(time.Second)
}

// A foreign home calls its user here by the Contact it was given, and our users as the users of its domain.
func TestForeignCallsIn(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		acme := net.foreign()
		desk, soft := net.visits(north, "198.51.100.7:5060", "desk"), net.visits(north, "198.51.100.8:5060", "soft")
		alice := net.phone("1001@north.example", "198.51.100.1:5060").register(north, "", 1)
		net.addUser("2001@south.example")
		for _, call := range []struct {
			what, from, uri string
			fields          []sip.Field
			want            int
			rings           *phone
		}{
			{what: "its user, to its user here", from: "bob@acme.example", uri: "sip:carol-desk@192.0.2.1:5070", want: 200, rings: desk},
			{what: "her other phone", from: "bob@acme.example", uri: "sip:carol-soft@192.0.2.1:5070", want: 200, rings: soft},
			{what: "from outside", from: "eve@elsewhere.example", uri: "sip:carol-desk@192.0.2.1:5070", want: 200, rings: desk},
			{what: "as ours", from: "1001@north.example", uri: "sip:carol-desk@192.0.2.1:5070", want: 403},
			{what: "as another office's", from: "2001@south.example", uri: "sip:carol-desk@192.0.2.1:5070", want: 403},
			{what: "asserted as ours", from: "bob@acme.example", uri: "sip:carol-desk@192.0.2.1:5070", want: 403,
				fields: []sip.Field{{Name: sip.PAssertedIdentity, Value: "<sip:1001@north.example>"}}},
			{what: "a Contact that is none", from: "bob@acme.example", uri: "sip:carolx@192.0.2.1:5070", want: 404},
			{what: "to our user", from: "bob@acme.example", uri: "sip:1001@north.example", want: 200, rings: alice},
			{what: "to our number", from: "bob@acme.example", uri: "sip:+15550001001@192.0.2.1:5070", want: 200, rings: alice},
			{what: "from outside to our user", from: "eve@elsewhere.example", uri: "sip:1001@north.example", want: 403},
			{what: "as ours to ours", from: "2001@south.example", uri: "sip:1001@north.example", want: 403},
			{what: "to another office's user", from: "bob@acme.example", uri: "sip:2001@south.example", want: 404},
			{what: "with an epoch of its own", from: "bob@acme.example", uri: "sip:carol-desk@192.0.2.1:5070", want: 200, rings: desk,
				fields: []sip.Field{{Name: sip.RoamEpoch, Value: "9007199254740991"}}},
		} {
			before := map[*phone]int{}
			for _, p := range []*phone{desk, soft, alice} {
				before[p] = len(p.invited)
			}
			acme.asAcme(call.from, call.uri, call.fields...)
			if acme.last() != call.want {
				t.Errorf("%s: got %v, want %d", call.what, acme.got, call.want)
			}
			for _, p := range []*phone{desk, soft, alice} {
				if rang := len(p.invited) - before[p]; rang != 0 && p != call.rings || rang != 1 && p == call.rings {
					t.Errorf("%s: %s rang %d times", call.what, p.addrs[0], rang)
				}
			}
			if call.rings == nil {
				continue
			}
			in := call.rings.invited[len(call.rings.invited)-1]
			if from, err := in.From(); err != nil || from.URI.User+"@"+from.URI.Host != call.from {
				t.Errorf("%s: shown as %v, want %s", call.what, from, call.from)
			}
		}
		for _, r := range north.rows {
			if r.User == acmeCarol && (r.Home != "north" || !r.Roaming || r.Role != "callee") {
				t.Errorf("record %+v, want it to stay at north", r)
			}
			if strings.HasSuffix(string(r.User), "@acme.example") && r.User != acmeCarol {
				t.Errorf("record of %s, who is not here", r.User)
			}
		}
	})
}

// A visitor from a foreign home calls home by way of it, with his own credentials, and everybody here directly.
func TestForeignCallsOut(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		acme := net.foreign()
		p := net.visits(north, "198.51.100.7:5060", "desk")
		alice := net.phone("1001@north.example", "198.51.100.1:5060").register(north, "", 1)
		sue := net.phone("2001@south.example", "198.51.100.2:5060").register(south, "", 1)
		ring := acme.answer
		acme.answer = func(a *phone, tx *transaction.Server) {
			if from, err := tx.Request().From(); err == nil && from.URI.Host == "acme.example" && tx.Request().Value(sip.ProxyAuthorization) == nil {
				a.d.Respond(tx, dialog.Answer{Code: 407, Fields: []sip.Field{{Name: sip.ProxyAuthenticate, Value: `Digest realm="acme.example", nonce="n"`}}})
				return
			}
			ring(a, tx)
		}
		call := func(p *phone, uri string, fields ...sip.Field) *sip.Message {
			t.Helper()
			n := len(acme.invited)
			p.got = nil
			p.call(uri, "offer", fields...)
			net.pass(3 * time.Second)
			if p.last() == 200 {
				p.bye()
			}
			net.pass(time.Second)
			if len(acme.invited) == n {
				return nil
			}
			return acme.invited[len(acme.invited)-1]
		}
		call(p, "sip:bob@acme.example")
		if p.last() != 407 {
			t.Errorf("carol calls home: got %v, want its challenge", p.got)
		}
		if len(north.rows) != 0 {
			t.Errorf("a challenge left records %+v", north.rows)
		}
		answer := `Digest username="carol", realm="acme.example", nonce="n", uri="sip:bob@acme.example", response="x"`
		in := call(p, "sip:bob@acme.example", sip.Field{Name: sip.ProxyAuthorization, Value: answer})
		if in == nil || p.last() != 200 || string(in.Value(sip.ProxyAuthorization)) != answer || string(in.RequestURI()) != "sip:bob@acme.example" {
			t.Fatalf("carol calls home with credentials: got %v, want 200, and them untouched", p.got)
		}
		if r := north.row(acmeCarol); r.Home != "north" || r.Role != "caller" || !r.Roaming {
			t.Errorf("record %+v, want it to stay at north", r)
		}
		for _, n := range []sip.Name{sip.PChargingVector, sip.RoamEpoch, sip.PVisitedNetworkID} {
			if v := in.Value(n); v != nil {
				t.Errorf("acme was told %v: %s", n, v)
			}
		}
		credentials := sip.Field{Name: sip.ProxyAuthorization, Value: answer}
		if in := call(p, "1002@acme.example", credentials); in == nil || string(in.RequestURI()) != "sip:1002@acme.example" {
			t.Errorf("home's short number: got %v", p.got)
		}
		if in := call(p, "sip:+4930123456@acme.example", credentials); in == nil || string(in.RequestURI()) != "sip:+4930123456@acme.example" {
			t.Errorf("a number that nobody has: got %v, want it to go by way of home", p.got)
		}
		for uri, callee := range map[string]*phone{"sip:1001@north.example": alice, "sip:+15550001001@acme.example": alice, "sip:2001@south.example": sue} {
			n := len(callee.invited)
			if in := call(p, uri, credentials); in != nil || p.last() != 200 || len(callee.invited) != n+1 {
				t.Errorf("carol calls %s: got %v, want it rung directly", uri, p.got)
				continue
			}
			if last := callee.invited[len(callee.invited)-1]; last.Value(sip.ProxyAuthorization) != nil {
				t.Errorf("carol calls %s: her credentials for home went there", uri)
			}
		}
		n := len(p.invited)
		call(alice, "sip:carol@acme.example")
		call(sue, "sip:carol@acme.example")
		if len(p.invited) != n+2 || alice.last() != 200 || sue.last() != 200 {
			t.Errorf("our users call carol: got %v and %v, want her rung here", alice.got, sue.got)
		}
		if in := call(alice, "sip:bob@acme.example", sip.Field{Name: sip.ProxyAuthorization, Value: "x"}); in == nil || alice.last() != 200 || in.Value(sip.ProxyAuthorization) != nil {
			t.Errorf("alice calls bob of acme: got %v, want 200 and no credentials there", alice.got)
		}
		call(alice, "sip:bob@acme.example", sip.Field{Name: sip.Privacy, Value: "id"})
		if in := acme.invited[len(acme.invited)-1]; in.Value(sip.PAssertedIdentity) != nil || strings.Contains(string(in.Value(sip.From)), "1001") {
			t.Errorf("alice hides: acme was told %q, %q", in.Value(sip.From), in.Value(sip.PAssertedIdentity))
		}
		for code, want := range map[int]int{404: 404, 486: 486, 480: 480, 503: 500, 302: 480} {
			acme.answer = refusing(code)
			if call(alice, "sip:bob@acme.example"); alice.last() != want {
				t.Errorf("acme says %d: got %v, want %d", code, alice.got, want)
			}
		}
		acme.answer = refusing(407) // of us
		if call(alice, "sip:bob@acme.example"); alice.last() != 480 {
			t.Errorf("acme challenges a caller that is not its own: got %v, want 480", alice.got)
		}
		if !slices.Contains(net.sent, "192.0.2.1:5070 INVITE sip:bob@acme.example SIP/2.0") {
			t.Error("acme was not called from the listener where it is known")
		}
	})
}

// A phone behind a front is called by way of its Path, and calls: with the front's token as itself, else with credentials.
func TestFrontCalls(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		edge := net.foreign()
		const alice = roam.UserID("1001@north.example")
		net.addUser(alice)
		net.addUser("1003@north.example")
		north.do(func() {
			north.sw.cfg.Foreign["acme"].Front = true
			line := north.dir.lines[alice]
			line.Targets = []roam.Target{{URI: "sip:1001@192.168.1.10:5060", Route: []string{"<sip:203.0.113.9:5060;lr>"},
				Flow: roam.Flow{Transport: roam.UDP, Local: north.addrs[2], Remote: edge.addrs[0]}}}
			north.dir.lines[alice] = line
			north.dir.flows[edge.addrs[0]] = []roam.UserID{alice}
		})
		bob := net.phone("1002@north.example", "198.51.100.1:5060").register(north, "", 1)
		bob.call("1001", "offer")
		net.pass(3 * time.Second)
		bob.bye()
		net.pass(time.Second)
		if len(edge.invited) != 1 || bob.last() != 200 {
			t.Fatalf("bob calls alice: got %v, want 200 by way of the front", bob.got)
		}
		in := edge.invited[0]
		if uri, route := string(in.RequestURI()), string(in.Value(sip.Route)); uri != "sip:1001@192.168.1.10:5060" || route != "<sip:203.0.113.9:5060;lr>" {
			t.Errorf("the front got %s with Route %s, want alice's Contact and her Path", uri, route)
		}
		if from, err := in.From(); err != nil || from.URI.User != "1002" || in.Value(sip.PAssertedIdentity) != nil {
			t.Errorf("alice's phone was shown %v, %s, want what a phone sees", from, in.Value(sip.PAssertedIdentity))
		}
		credentials := sip.Field{Name: sip.ProxyAuthorization, Value: string(alice)}
		token := sip.Field{Name: sip.RecordRoute, Value: "<sip:1001@203.0.113.9:5060;lr>"}
		other := sip.Field{Name: sip.RecordRoute, Value: "<sip:1003@203.0.113.9:5060;lr>"}
		for _, call := range []struct {
			what, from string
			fields     []sip.Field
			want       int
		}{
			{"alice", "1001@north.example", nil, 407},
			{"alice, with credentials", "1001@north.example", []sip.Field{credentials}, 200},
			{"alice, by the front's token", "1001@north.example", []sip.Field{token}, 200},
			{"whoever she says she is", "anonymous@anonymous.invalid", []sip.Field{token}, 200},
			{"alice, by a token that is nobody's", "1001@north.example", []sip.Field{other}, 407},
			{"somebody who is not behind the front", "1003@north.example", nil, 403},
			{"that one with credentials", "1003@north.example", []sip.Field{{Name: sip.ProxyAuthorization, Value: "1003@north.example"}}, 403},
		} {
			n := len(bob.invited)
			edge.asAcme(call.from, "sip:1002@north.example", call.fields...)
			if edge.last() != call.want || (len(bob.invited) == n+1) != (call.want == 200) {
				t.Errorf("%s: got %v, want %d", call.what, edge.got, call.want)
			}
			if call.want == 200 {
				if from, err := bob.invited[n].From(); err != nil || from.URI.User != "1001" {
					t.Errorf("%s: bob sees %v, want 1001", call.what, from)
				}
			}
		}
	})
}

// A phone behind a front is a phone: it calls other offices, and its calls are charged to it.
func TestFrontCallsOffice(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		edge := net.foreign()
		const alice = roam.UserID("1001@north.example")
		net.addUser(alice)
		north.do(func() {
			north.sw.cfg.Foreign["acme"].Front = true
			line := north.dir.lines[alice]
			line.Targets = []roam.Target{{URI: "sip:1001@192.168.1.10:5060", Route: []string{"<sip:203.0.113.9:5060;lr>"}}}
			north.dir.lines[alice] = line
			north.dir.flows[edge.addrs[0]] = []roam.UserID{alice}
		})
		sue := net.phone("2001@south.example", "198.51.100.2:5060").register(south, "", 1)
		edge.asAcme("1001@north.example", "sip:2001@south.example", sip.Field{Name: sip.RecordRoute, Value: "<sip:1001@203.0.113.9:5060;lr>"})
		if edge.last() != 200 || len(sue.invited) != 1 {
			t.Fatalf("got %v, want south's phone rung", edge.got)
		}
		if r := north.row(alice); r.Role != "caller" || r.Kind != roam.Outgoing || r.Status != 200 {
			t.Errorf("record %+v, want alice's call to another office", r)
		}
	})
}

// A phone behind a front is asked by way of its Path whether it lives; the front's own silence ends nobody else.
func TestFrontProbe(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		edge := net.foreign()
		phone := func(n string) roam.Target {
			return roam.Target{URI: "sip:" + n + "@192.168.1.10:5060", Route: []string{"<sip:203.0.113.9:5060;lr>", "<sip:203.0.113.10:5060;lr>"},
				Flow: roam.Flow{Transport: roam.UDP, Local: north.addrs[2], Remote: edge.addrs[0]}}
		}
		var lost []string
		var asked []string
		edge.tl.Handle(transaction.HandlerFunc(func(tx *transaction.Server, req *sip.Message) error {
			asked = append(asked, string(req.RequestURI())+" "+string(req.Value(sip.Route)))
			if strings.Contains(string(req.RequestURI()), "1002") {
				return tx.Reply(430) // its flow is broken
			}
			return tx.Reply(200)
		}))
		north.do(func() {
			north.sw.cfg.Probe = 10 * time.Second
			north.sw.OnSilent(func(f roam.Flow) { t.Errorf("all of %v is taken for dead", f) })
			north.sw.OnLost(func(t roam.Target) { lost = append(lost, t.URI) })
			north.sw.WatchBehind(phone("1001"), true)
			north.sw.WatchBehind(phone("1002"), true)
			north.sw.WatchBehind(phone("1003"), true)
			north.sw.WatchBehind(phone("1003"), false)
		})
		net.pass(time.Minute)
		north.do(func() {
			north.sw.WatchBehind(phone("1001"), false)
			north.sw.cfg.Probe = 0
		})
		slices.Sort(asked)
		if !slices.Equal(lost, []string{"sip:1002@192.168.1.10:5060"}) || len(asked) < 5 || !strings.HasPrefix(asked[0], "sip:1001@192.168.1.10:5060 <sip:203.0.113.9:5060;lr>") {
			t.Errorf("got %q lost and %q asked, want 1002 alone, and 1001 by way of its Path", lost, asked)
		}
	})
}
