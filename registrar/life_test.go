package registrar

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

func (p *phone) want(code int) {
	p.w.t.Helper()
	if got := p.register(); got != code {
		p.w.t.Fatalf("at %s: got %d %s, want %d", p.office, got, p.last.Reason(), code)
	}
}

// settle lets time go by.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestLogins: a user may log in under any of his names, and be addressed by any.
func TestLogins(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		for _, to := range []string{"sip:1001@north.example", "sip:alice@north.example", "sip:+15550001001@north.example", "SIP:1001@NORTH.example:5060", "tel:+1-555-000-1001", "sip:+1-555-000-1001@north.example;user=phone", "sip:%31001@north.example."} {
			for _, login := range []string{"1001", "alice", "+15550001001", "15550001001", "1001@north.example", "alice@north.example"} {
				inWorld(t, func(w *world) {
					w.r.known("15550001001@north.example", "+15550001001@north.example")
					p := w.phone().carry(at)
					p.to, p.login = to, login
					if code := p.register(); code != 200 {
						t.Errorf("%s as %s at %s: got %d %s, want 200", to, login, at, code, p.last.Reason())
					}
					w.agree(at)
				})
			}
		}
	}
}

// known gives alice more names in R.
func (r *store3) known(names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range names {
		r.ids[n] = roam.Identity{Name: n, User: alice, Home: "north"}
	}
}

// TestNumberOnly is a phone that knows a number and the address of the office it is in.
func TestNumberOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, to := range []string{"sip:+15550001001@192.0.2.2", "sip:1001@192.0.2.2", "sip:1001@192.0.2.2:5060"} {
			p := w.phone().carry("south")
			p.to, p.uri = to, "sip:192.0.2.2"
			p.want(200)
			w.agree("south")
		}
	})
}

// TestDigestURI: what the digest was made for must be us, or what was asked.
func TestDigestURI(t *testing.T) {
	for uri, want := range map[string]int{
		"sip:north.example": 200, "sip:north.example:5060;transport=udp": 200, "sip:1001@north.example": 200, "sip:sip.north.example": 200,
		"sip:192.0.2.1": 200, "sip:192.0.2.1:5060": 200, "sip:south.example": 401, "sip:192.0.2.2": 401, "nonsense": 401,
	} {
		for _, at := range []roam.OfficeID{"north", "south"} {
			inWorld(t, func(w *world) {
				p := w.phone().carry(at)
				p.digestURI = uri
				if code := p.register(); code != want {
					t.Errorf("%s at %s: got %d, want %d", uri, at, code, want)
				}
			})
		}
	}
	inWorld(t, func(w *world) { // south was asked, and says so
		p := w.phone().carry("south")
		p.uri, p.digestURI = "sip:192.0.2.2", "sip:192.0.2.2:5060"
		p.want(200)
	})
}

// TestReplay: a REGISTER sent again is answered again; with the same answer to the challenge nothing else can be done.
func TestReplay(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			p.want(200)
			a := p.authorization()
			p.cseq += 10
			text := p.text(a)
			for i := range 3 {
				if res := p.send(strings.Replace(text, "branch=z9hG4bK", "branch=z9hG4bK"+strings.Repeat("x", i), 1)); res.Status() != 200 {
					t.Errorf("%s, time %d: got %d, want 200", at, i, res.Status())
				}
			}
			before := w.state()
			for _, change := range [][2]string{{":4000", ":4999"}, {"Expires: 300", "Expires: 0"}, {"Call-ID: ", "Call-ID: x"}} {
				forged := strings.ReplaceAll(text, change[0], change[1])
				forged = strings.Replace(forged, "branch=z9hG4bK", "branch=z9hG4bKf", 1)
				if res := p.send(forged); res.Status() != 401 {
					t.Errorf("%s, %s: got %d with %v", at, change[1], res.Status(), p.bindings())
				}
			}
			if after := w.state(); !reflect.DeepEqual(before, after) {
				t.Errorf("%s: changed: before %v\nafter %v", at, before, after)
			}
		})
	}
}

// TestGoes is a phone that says goodbye, and one that just stops.
func TestGoes(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			p.want(200)
			w.agree(at)
			p.expires = 0
			p.want(200)
			if len(p.bindings()) != 0 {
				t.Errorf("got %v, want no binding", p.bindings())
			}
			w.agree("")
			p.expires = 300
			p.want(200)
			w.agree(at)
			settle(295 * time.Second)
			w.agree(at)
			settle(10 * time.Second)
			w.agree("")
			p.want(200)
			p.contact, p.expires = "*", 0
			p.want(200)
			w.agree("")
		})
	}
}

// TestManyDevices: two phones in two offices ring from home; the softswitch is told both.
func TestManyDevices(t *testing.T) {
	inWorld(t, func(w *world) {
		desk, cell := w.phone(), w.phone().carry("south")
		cell.device = "urn:uuid:cell"
		desk.want(200)
		cell.want(200)
		settle(time.Second)
		if len(cell.bindings()) != 1 {
			t.Errorf("got %v, want one binding", cell.bindings())
		}
		w.on("north", func(s *Server) {
			line, found := s.Line(alice)
			if !found || len(line.Targets) != 2 || line.Targets[0].Office != "" || line.Targets[1].Office != "south" || line.Targets[1].URI != partnerURI("south") {
				t.Errorf("got %v, want a phone here and south", line.Targets)
			}
			if got := s.users[alice].home.Location.Office; got != "north" {
				t.Errorf("got %q, want north", got)
			}
		})
		desk.want(200)
		if len(desk.bindings()) != 2 {
			t.Errorf("got %v, want both bindings", desk.bindings())
		}
	})
}

// TestDevicesOne: the newest wins, and the superseded phone's timer is told where its user is.
func TestDevicesOne(t *testing.T) {
	inWorld(t, func(w *world) {
		for id := range w.offices {
			w.on(id, func(s *Server) { c := s.cfg; c.Devices = "one"; s.Reload(c) })
		}
		desk, cell := w.phone(), w.phone().carry("south")
		cell.device = "urn:uuid:cell"
		desk.want(200)
		w.agree("north")
		cell.want(200)
		w.agree("south")
		desk.want(403)
		if desk.last.Reason() != "Registered At south" {
			t.Errorf("got %q", desk.last.Reason())
		}
		w.agree("south")
		cell.expires = 0
		cell.want(200)
		desk.want(200)
		w.agree("north")
	})
}

// TestSupersedeLost: home repeats the notice until the old office has heard it.
func TestSupersedeLost(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		p.want(200)
		w.agree("south")
		w.mu.Lock()
		w.lose = func(_, to roam.OfficeID, m *sip.Message) bool { return m.Method() == sip.NOTIFY && m.IsRequest() }
		w.mu.Unlock()
		p.carry("west").want(200)
		settle(35 * time.Second)
		w.on("south", func(s *Server) {
			if !s.here(alice) {
				t.Errorf("south heard what was lost")
			}
		})
		w.mu.Lock()
		w.lose = nil
		w.mu.Unlock()
		settle(20 * time.Second)
		w.agree("west")
	})
}

// TestHomeSilentLater: home calls the credentials good and then says nothing; the visitor is served, and home hears of it.
func TestHomeSilentLater(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.want(200)
		w.mu.Lock()
		w.lose = func(from, _ roam.OfficeID, m *sip.Message) bool {
			return m.Method() == sip.REGISTER && m.Value(sip.Contact) != nil
		}
		w.mu.Unlock()
		p.carry("south").want(200)
		w.on("south", func(s *Server) {
			if !s.here(alice) {
				t.Error("south does not serve alice")
			}
		})
		w.mu.Lock()
		w.lose = nil
		w.mu.Unlock()
		settle(20 * time.Second)
		w.agree("south")
	})
}

// TestProvisional: while home does not answer, the visitor is counted as provisional, and home as down.
func TestProvisional(t *testing.T) {
	inWorld(t, func(w *world) {
		gauges := func() (up, provisional float64) {
			for _, f := range w.offices["south"].m.Families() {
				if f.Name == "partner_up" {
					f.Read(func(v float64, label ...string) {
						if label[0] == "north" {
							up = v
						}
					})
				}
				if f.Name == "visitors_provisional" {
					f.Read(func(v float64, _ ...string) { provisional = v })
				}
			}
			return up, provisional
		}
		w.mu.Lock()
		w.lose = func(_, _ roam.OfficeID, m *sip.Message) bool {
			return m.Method() == sip.REGISTER && m.Value(sip.Contact) != nil
		}
		w.mu.Unlock()
		w.phone().carry("south").want(200)
		if up, provisional := gauges(); up != 0 || provisional != 1 {
			t.Errorf("got up %v, provisional %v, want 0 and 1", up, provisional)
		}
		if south := w.offices["south"].reg; !south.Provisional(alice) || south.Provisional("1002@north.example") {
			t.Error("alice's charging records do not wait, or all do")
		}
		w.mu.Lock()
		w.lose = nil
		w.mu.Unlock()
		settle(20 * time.Second)
		w.agree("south")
		if up, provisional := gauges(); up != 1 || provisional != 0 {
			t.Errorf("got up %v, provisional %v, want 1 and 0", up, provisional)
		}
		if w.offices["south"].reg.Provisional(alice) {
			t.Error("alice's charging records wait for ever")
		}
	})
}

// TestRefuseUnrecorded is the strict policy: what home does not record is refused, and nothing stays.
func TestRefuseUnrecorded(t *testing.T) {
	inWorld(t, func(w *world) {
		w.on("south", func(s *Server) { s.cfg.Partners[0].HomeSilent = &roam.SilencePolicy{Policy: "refuse-unrecorded"} })
		w.mu.Lock()
		w.lose = func(_, _ roam.OfficeID, m *sip.Message) bool {
			return m.Method() == sip.REGISTER && m.Value(sip.Contact) != nil
		}
		w.mu.Unlock()
		w.phone().carry("south").want(503)
		w.agree("")
		n := 0
		w.mu.Lock()
		w.lose = func(from, _ roam.OfficeID, m *sip.Message) bool { // home records it, but its answer is lost
			if from == "north" && m.Method() == sip.REGISTER && m.Has(sip.ContentType, locationType) {
				n++
			}
			return n == 1 && from == "north" && m.Has(sip.ContentType, locationType)
		}
		w.mu.Unlock()
		w.phone().carry("south").want(503)
		w.agree("")
	})
}

// leases is DHCP at one office.
type leases map[netip.Addr]roam.Lease

func (l leases) At(ip netip.Addr) (roam.Lease, bool) { at, found := l[ip]; return at, found }

// TestLease: a phone that does not say who it is, is known by its lease; where DHCP is not ours it is
// nobody in particular, and still the same phone. Being plugged in is the sign of a person.
func TestLease(t *testing.T) {
	inWorld(t, func(w *world) {
		ip := netip.MustParseAddr("198.51.100.7")
		w.on("north", func(s *Server) {
			s.leases = leases{ip: {MAC: "00:00:5e:00:53:01", Plugged: s.loop.Now().Add(-time.Hour), Port: "sw1/3", Site: "1 Long Street"}}
		})
		p := w.phone()
		p.contact = "<sip:1001@198.51.100.7>"
		p.want(200)
		w.agree("north")
		first := p.callID
		w.on("north", func(s *Server) {
			if d := s.users[alice].home.At[0].Device; d != "mac:00:00:5e:00:53:01" {
				t.Errorf("got %q, want the lease's", d)
			}
			if got := s.users[alice].home.At[0].Contacts[0].Target.Spot.String(); got != "sw1/3, 1 Long Street" {
				t.Errorf("got spot %q, want the lease's", got)
			}
		})
		p.carry("south").want(200)
		w.agree("south")
		p.carry("north").callID = first
		p.want(403) // the timer of the registration that was superseded
		w.on("north", func(s *Server) { s.leases = leases{ip: {MAC: "00:00:5e:00:53:01", Plugged: s.loop.Now()}} })
		p.want(200)
		w.agree("north")
		p.carry("south").want(200)
		w.agree("south")
		p.carry("north").callID = first
		p.want(403) // that it was plugged in was the sign of a person before it went to south, not since
	})
}

// TestLeasesOver: a lease that ends takes the registrations of its address with it, and no other; that many end at once is one walk
// over the flows.
func TestLeasesOver(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.phone()
		a.want(200)
		w.on("north", func(s *Server) {
			for i := range 200 {
				s.LeaseOver(netip.AddrFrom4([4]byte{198, 51, 99, byte(i)}))
			}
			if len(s.leasesOver) != 200 {
				t.Errorf("got %d leases to end together, want 200", len(s.leasesOver))
			}
		})
		settle(time.Second)
		w.on("north", func(s *Server) {
			if len(s.flows) != 1 || s.leasesOver != nil {
				t.Errorf("got %d flows, %d leases left; want 1 and none", len(s.flows), len(s.leasesOver))
			}
			s.LeaseOver(netip.MustParseAddr("::ffff:" + a.flow().Remote.Addr().String()))
		})
		settle(time.Second)
		w.on("north", func(s *Server) {
			if len(s.flows) != 0 {
				t.Errorf("got %d flows, want none", len(s.flows))
			}
		})
		w.agree("")
	})
}

// TestAdmitKnown: home is silent from the start; by policy the phone that is here stays, a stranger does not.
func TestAdmitKnown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.on("south", func(s *Server) { s.cfg.HomeSilent.Policy = "admit-known" })
		p := w.phone().carry("south")
		p.want(200)
		w.agree("south")
		w.mu.Lock()
		w.cut["north"] = true
		w.mu.Unlock()
		p.want(200)
		if got := p.bindings(); len(got) != 1 || !strings.Contains(got[0], "expires=90") {
			t.Errorf("got %v, want 90 s", got)
		}
		q := w.phone().carry("south")
		q.port = 50000
		q.want(503)
		w.mu.Lock()
		w.cut["north"] = false
		w.mu.Unlock()
		settle(time.Minute)
		w.agree("south")
	})
}

// TestStoreAway: R does not answer; moves are admitted by home, and a domain we know leads home without R.
func TestStoreAway(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.carry("south").want(200) // south knows north's card now
		p.carry("north").want(200)
		w.agree("north")
		w.r.mu.Lock()
		w.r.away = true
		w.r.mu.Unlock()
		p.carry("south").want(200)
		w.on("north", func(s *Server) {
			if got := s.Owned("", 10)[0]; got.User != alice || got.At.Office != "south" {
				t.Errorf("the sweep is given %v, want south", got)
			}
		})
		p.carry("west").want(200) // which never had to do with north
	})
}

// TestRestart: what was answered 200 is there after the process was killed, at home and away; it lives one interval.
func TestRestart(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			p.want(200)
			w.agree(at)
			settle(200 * time.Second)
			for _, o := range w.offices {
				serves := o.sw.serves
				o.restart()
				o.sw.serves = serves
			}
			w.agree(at)
			settle(200 * time.Second)
			w.agree(at)
			p.want(200)
			w.agree(at)
			p.carry("west").want(200)
			w.agree("west")
			w.offices["west"].restart()
			settle(301 * time.Second)
			w.agree("")
		})
	}
}

// TestTombstone: the office that was left knows where calls go, also after a restart, and forgets in time.
func TestTombstone(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		p.want(200)
		p.carry("west").want(200)
		w.agree("west")
		w.offices["south"].restart()
		w.on("south", func(s *Server) {
			line, found := s.Line(alice)
			if !found || line.Gone == nil || line.Gone.Office != "west" || line.Gone.Switch != partnerURI("west") || line.Gone.Epoch == 0 || len(line.Targets) > 0 {
				t.Errorf("got %+v, want a tombstone that says west", line)
			}
			if line.Home.Office != "north" {
				t.Errorf("got home %q, want north", line.Home.Office)
			}
		})
		settle(3 * time.Hour)
		w.on("south", func(s *Server) {
			if _, found := s.Line(alice); found || len(s.visitors) > 0 {
				t.Errorf("south remembers %v", s.visitors)
			}
		})
	})
}

// TestProfile: what the user has at home travels with him.
func TestProfile(t *testing.T) {
	inWorld(t, func(w *world) {
		w.phone().carry("south").want(200)
		w.on("south", func(s *Server) {
			line, found := s.Line(alice)
			p := line.Profile
			if !found || !line.Visitor || p == nil || p.Name != "alice" || p.Number != "+15550001001" || p.Short != "1001" || p.Dial == nil || p.Dial.Country != "1" {
				t.Errorf("got %+v", line)
			}
			for _, name := range []sip.AOR{"1001@north.example", "+15550001001", "+15550001001@south.example"} {
				if id, found := s.Resolve(name); !found || id != alice {
					t.Errorf("%s: got %q", name, id)
				}
			}
		})
	})
}

// TestCarriedRunning is a softphone that is carried on without a restart: same Call-ID, to and fro.
func TestCarriedRunning(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		for range 5 {
			for _, o := range []roam.OfficeID{"north", "south", "west"} {
				p.office, p.nonce = o, ""
				p.want(200)
				w.agree(o)
			}
		}
	})
}

// TestClosed: the bindings of a connection that ended are tried last, and come back with the phone.
func TestClosed(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.phone(), w.phone()
		b.device, b.port, b.callID = "urn:uuid:b", 40100, "b"
		a.want(200)
		settle(time.Second)
		b.want(200)
		first := func() (uri string) {
			w.on("north", func(s *Server) {
				line, _ := s.Line(alice)
				uri = line.Targets[0].URI
			})
			return uri
		}
		if got := first(); !strings.HasSuffix(got, ":40100") {
			t.Errorf("got %s, want the most recently refreshed first", got)
		}
		f := b.flow()
		w.on("north", func(s *Server) { s.Closed(f) })
		if got := first(); !strings.HasSuffix(got, ":40001") {
			t.Errorf("got %s, want the one whose connection lives", got)
		}
		w.on("north", func(s *Server) {
			s.LeaseOver(a.flow().Remote.Addr())
			if user, found, _ := s.Whose(a.flow(), nil); !found || user != alice {
				t.Errorf("got %q before it is saved", user)
			}
		})
		w.agree("")
		w.on("north", func(s *Server) {
			if _, found, _ := s.Whose(a.flow(), nil); found || len(s.flows) > 0 || len(s.ended) > 0 {
				t.Errorf("left: %v, %v", s.flows, s.ended)
			}
		})
	})
}

// TestWhose: one flow, two users; the claim decides.
func TestWhose(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.phone(), w.phone()
		b.to, b.login, b.password, b.callID = "sip:1002@north.example", "1002", "secret-1002", "b"
		a.want(200)
		b.want(200)
		w.on("north", func(s *Server) {
			for claim, want := range map[sip.AOR]roam.UserID{"1002@north.example": "1002@north.example", "alice@north.example": alice, "+15550001002": "1002@north.example"} {
				if got, found, _ := s.Whose(a.flow(), []sip.AOR{claim}); !found || got != want {
					t.Errorf("%s: got %q, want %q", claim, got, want)
				}
			}
			if got, found, many := s.Whose(a.flow(), []sip.AOR{"1003@north.example"}); found || !many {
				t.Errorf("got %q, want many and none", got)
			}
		})
	})
}

// TestQuery: a REGISTER without Contact lists what there is.
func TestQuery(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, at := range []roam.OfficeID{"north", "south"} {
			p := w.phone().carry(at)
			p.want(200)
			p.contact = "none"
			p.want(200)
			if got := p.bindings(); len(got) != 1 || !slices.Equal(got, p.bindings()) || !strings.Contains(got[0], "@198.51.100.7:") {
				t.Errorf("at %s: got %v, want the phone's contact", at, got)
			}
			w.agree(at)
		}
	})
}

// TestGoesNameless is a phone that leaves its name out when it goes.
func TestGoesNameless(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			p.want(200)
			w.agree(at)
			p.contact, p.expires = "<sip:1001@198.51.100.7:40002>", 0
			p.want(200)
			w.agree("")
		})
	}
}

// TestDrift: a phone that speaks from another port is reached there at once, and after a restart.
func TestDrift(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			p.contact = "<sip:1001@198.51.100.7>;+sip.instance=\"<urn:uuid:a>\""
			p.want(200)
			old := p.flow()
			p.port += 50
			p.want(200)
			for range 2 {
				w.on(at, func(s *Server) {
					if _, found, _ := s.Whose(old, nil); found {
						t.Errorf("%s: still known on the old port", at)
					}
					if user, found, _ := s.Whose(p.flow(), nil); !found || user != alice {
						t.Errorf("%s: got %q on the new port", at, user)
					}
				})
				settle(time.Second)
				w.offices[at].restart()
			}
		})
	}
}

// TestOneInterval: after a restart a binding lives one interval, no more.
func TestOneInterval(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.want(200)
		settle(250 * time.Second)
		w.offices["north"].restart()
		w.offices["north"].sw.serves = []string{string(alice) + " urn:uuid:a"}
		settle(290 * time.Second)
		w.agree("north")
		settle(15 * time.Second)
		w.agree("")
	})
}

// TestRoom: when a visitor has gone there is room for the next.
func TestRoom(t *testing.T) {
	inWorld(t, func(w *world) {
		w.on("south", func(s *Server) { s.cfg.Partners[0].Visitors.Max = 1 })
		a, b := w.phone().carry("south"), w.phone().carry("south")
		b.to, b.login, b.password, b.device = "sip:1002@north.example", "1002", "secret-1002", "urn:uuid:b"
		a.want(200)
		b.want(503)
		a.want(200)
		a.expires = 0
		a.want(200)
		b.want(200)
	})
}

// TestInstance: a phone cannot take the name of a lease.
func TestInstance(t *testing.T) {
	for params, want := range map[sip.Params]roam.Device{
		`+sip.instance="<urn:uuid:a>"`: "urn:uuid:a", `expires=60`: "", `+sip.instance="mac:00:00:5e:00:53:01"`: "", `+sip.instance="<mac:00:00:5e:00:53:01>"`: "",
		sip.Params(`+sip.instance="` + strings.Repeat("x", 200) + `"`): "",
	} {
		if got := instance(params); got != want {
			t.Errorf("%s: got %q, want %q", params, got, want)
		}
	}
}

// TestQuietOffline: an office that keeps to itself that a visitor went offline (M13) ends the visit; home's record
// expires by itself, and a return needs no more than any registration.
func TestQuietOffline(t *testing.T) {
	inWorld(t, func(w *world) {
		south := w.offices["south"]
		cfg := south.cfg
		cfg.Offline = "keep"
		w.on("south", func(s *Server) { s.Reload(cfg) })
		p := w.phone().carry("south")
		p.want(200)
		w.agree("south")
		told := 0
		w.lose = func(_, to roam.OfficeID, m *sip.Message) bool {
			if to == "north" && m.Method() == sip.REGISTER && m.Value(sip.Contact) != nil && m.IsRequest() {
				told++
			}
			return false
		}
		p.expires = 0
		p.want(200)
		settle(time.Second)
		w.on("south", func(s *Server) {
			if s.here(alice) {
				t.Error("south still has her")
			}
		})
		if len(south.sw.serves) != 0 || told != 0 {
			t.Errorf("got %v served and %d messages to home, want none", south.sw.serves, told)
		}
		w.on("north", func(s *Server) {
			if at := s.users[alice].home.Location.Office; at != "south" {
				t.Errorf("home: got %q, want south until it expires", at)
			}
		})
		p.expires = 300
		p.want(200)
		w.agree("south")
		p.expires = 0
		p.want(200)
		settle(6 * time.Minute)
		w.agree("")
	})
}

// TestSilent: what the softswitch says of a flow ends every registration on it, at home and away.
func TestSilent(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			w.phone().carry(at).want(200)
			w.agree(at)
			w.on(at, func(s *Server) {
				for f := range s.flows {
					s.Silent(f)
				}
			})
			w.agree("")
		})
	}
}
