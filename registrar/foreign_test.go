package registrar

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// proxy is where the foreign home is.
const proxy = "proxy.acme.example"

const carol = roam.UserID("carol@acme.example")

// elsewhere is a registrar as the usual ones are: it knows nothing of roaming, challenges every REGISTER, binds Contacts for
// as long as it is asked, and orders nothing but by Call-ID and CSeq.
type elsewhere struct {
	w     *world
	min   int // shortest expiry
	mute  bool
	says  int // refuses with it; 0: not
	bound map[string][]bound
	last  *sip.Message // the last REGISTER
	count int
}

type bound struct {
	uri    string
	until  time.Time
	callID string
	cseq   uint32
}

// foreign has every office know acme as the home of acme.example.
func (w *world) foreign(expires time.Duration) *elsewhere {
	w.acme = &elsewhere{w: w, min: 60, bound: map[string][]bound{}}
	for id, o := range w.offices {
		p := roam.Partner{Office: "acme", Foreign: &roam.Foreign{Domain: "acme.example", Registrar: "sip:" + proxy, Expires: roam.Duration(expires)}}
		p.Visitors.Max = 3
		o.cfg.Partners = append(o.cfg.Partners, p)
		w.on(id, func(s *Server) { s.Reload(o.cfg) })
	}
	synctest.Wait()
	w.ladder = nil
	return w.acme
}

// toForeign is the path from o's own listener for acme.
func (o *site) toForeign() *sip.Flow {
	at := netip.AddrPortFrom(o.addr.Addr(), 5070)
	return &sip.Flow{Flow: roam.Flow{Transport: roam.UDP, Local: at, Remote: netip.MustParseAddrPort("203.0.113.9:5060")}, Here: at.String(), Foreign: "acme"}
}

// take is a request to it, from an office.
func (e *elsewhere) take(from *site, f *sip.Flow, m *sip.Message) {
	e.w.note("%s>acme %s", from.id, m.Method())
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.mute {
		return
	}
	e.last, e.count = m, e.count+1
	var res sip.Writer
	code, fields := e.says, []sip.Field{{Name: sip.RetryAfter, Value: "7"}}
	if e.says == 0 {
		code, fields = e.register(m)
	}
	res.Response(m, code, "", "acme")
	res.AddFields(fields)
	if err := res.End("", nil); err != nil {
		e.w.t.Error(err)
	}
	answer := &sip.Message{}
	if err := sip.Parse(slices.Clone(res.Bytes()), answer); err != nil {
		e.w.t.Error(err)
	}
	answer.Flow = from.toForeign()
	time.AfterFunc(time.Millisecond, func() { from.layer.Receive([]*sip.Message{answer}, func() {}) })
}

// register answers a REGISTER.
func (e *elsewhere) register(m *sip.Message) (int, []sip.Field) {
	to, err := m.To()
	if err != nil || m.Method() != sip.REGISTER {
		return 400, nil
	}
	param := func(name string) string {
		v, _ := sip.Params(strings.ReplaceAll(strings.TrimPrefix(string(m.Value(sip.Authorization)), "Digest "), ", ", ";")).Get(name)
		return v
	}
	h := func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }
	want := h(h(to.URI.User+":acme.example:secret-"+to.URI.User) + ":n1:" + param("nc") + ":" + param("cnonce") + ":auth:" + h("REGISTER:"+param("uri")))
	if m.Value(sip.Authorization) == nil || param("response") != want {
		return 401, []sip.Field{{Name: sip.WWWAuthenticate, Value: `Digest realm="acme.example", nonce="n1", qop="auth"`}}
	}
	now, all := time.Now(), e.bound[to.URI.User]
	for v := range m.Values(sip.Contact) {
		c, err := sip.ParseAddress(v)
		if err != nil {
			return 400, nil
		}
		text, _ := c.Params.Get("expires")
		n, _ := strconv.Atoi(text)
		if n > 0 && n < e.min {
			return 423, []sip.Field{{Name: sip.MinExpires, Value: strconv.Itoa(e.min)}}
		}
		i := slices.IndexFunc(all, func(b bound) bool { return b.uri == c.Raw })
		if i >= 0 && all[i].callID == m.CallID() && all[i].cseq >= m.CSeq() {
			return 500, nil
		}
		all = slices.DeleteFunc(all, func(b bound) bool { return b.uri == c.Raw })
		if n > 0 {
			all = append(all, bound{c.Raw, now.Add(time.Duration(n) * time.Second), m.CallID(), m.CSeq()})
		}
	}
	all = slices.DeleteFunc(all, func(b bound) bool { return !b.until.After(now) })
	e.bound[to.URI.User] = all
	var fields []sip.Field
	for _, b := range all {
		fields = append(fields, sip.Field{Name: sip.Contact, Value: fmt.Sprintf("<%s>;expires=%d", b.uri, int(b.until.Sub(now)/time.Second))})
	}
	return 200, fields
}

// contacts is where it would send calls for user.
func (e *elsewhere) contacts(user string) (uris []string) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for _, b := range e.bound[user] {
		if b.until.After(time.Now()) {
			uris = append(uris, b.uri)
		}
	}
	return uris
}

// roamer is a phone of acme's at an office. All of them have the same private address.
func (w *world) roamer(user string, o roam.OfficeID) *phone {
	p := w.phone().carry(o)
	p.login, p.password, p.to, p.uri, p.device = user, "secret-"+user, "sip:"+user+"@acme.example", "sip:acme.example", "urn:uuid:"+user
	p.home = "acme.example"
	p.contact = "<sip:" + user + "@192.168.1.10:5060>;+sip.instance=\"<urn:uuid:" + user + ">\""
	return p
}

// at asserts where carol is: at acme, at R, and among the offices' visitors; "": nowhere.
func (w *world) at(o roam.OfficeID) {
	w.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	cs := w.acme.contacts("carol")
	if o == "" && len(cs) != 0 || o != "" && (len(cs) != 1 || !strings.HasSuffix(cs[0], "@"+w.offices[o].toForeign().Here)) {
		w.t.Errorf("acme calls carol at %q, want one at %q", cs, o)
	}
	w.r.mu.Lock()
	r := w.r.at[carol]
	w.r.mu.Unlock()
	if r.Office != o {
		w.t.Errorf("R: carol is at %q, want %q\n%v", r.Office, o, w.ladder)
	}
	for id, site := range w.offices {
		w.on(id, func(s *Server) {
			served := slices.ContainsFunc(site.sw.serves, func(n string) bool { return strings.HasPrefix(n, string(carol)) })
			if served != (id == o) || s.here(carol) != (id == o) {
				w.t.Errorf("%s serves carol: %v, %v, want %v", id, served, s.here(carol), id == o)
			}
			if id == o {
				u, err := sip.ParseURI([]byte(cs[0]))
				user, d, found := s.Mirrored("acme", u.User)
				if user != carol || d != "urn:uuid:carol" || !found || err != nil {
					w.t.Errorf("%s: acme's call for %s rings %q of %q, want carol's phone", id, cs[0], d, user)
				}
				if v := s.visitors[carol][0].visit; v.Location.Epoch != r.Epoch || v.Ticket.Epoch != r.Epoch {
					w.t.Errorf("%s: epochs %d, %d, want R's, %d", id, v.Location.Epoch, v.Ticket.Epoch, r.Epoch)
				}
			}
			if len(s.waits) > 0 || s.questions.all != 0 {
				w.t.Errorf("%s: %d requests wait for ever, %+v", id, len(s.waits), s.questions)
			}
		})
	}
}

// A user of a foreign home comes to north, goes to south, comes back to north, and goes home.
func TestForeignHome(t *testing.T) {
	inWorld(t, func(w *world) {
		acme := w.foreign(0)
		p := w.roamer("carol", "north")
		register := func(o roam.OfficeID) {
			t.Helper()
			if code := p.register(); code != 200 || len(p.bindings()) != 1 || !strings.HasPrefix(p.bindings()[0], "<sip:carol@192.168.1.10:5060>;expires=120") {
				t.Fatalf("at %s: got %d %s with %q, want 200 with the phone's own Contact for 120 s", o, code, p.last.Reason(), p.bindings())
			}
			w.at(o)
		}
		register("north")
		w.steps(`
			north>acme REGISTER
			north>acme REGISTER
			north allocates
			north reports north true`)
		for n, want := range map[sip.Name]string{sip.Path: "", sip.RoamTicket: "", sip.PVisitedNetworkID: "", sip.MaxForwards: "69",
			sip.Authorization: strings.TrimSuffix(strings.TrimPrefix(p.auth, "Authorization: "), "\n"), sip.CallID: p.callID} {
			if got := string(acme.last.Value(n)); got != want {
				t.Errorf("%v at home: got %q, want %q", n, got, want)
			}
		}
		time.Sleep(50 * time.Second)
		register("north") // a refresh
		w.steps(`north>acme REGISTER`)
		p.carry("south")
		register("south")
		w.steps(`
			south>acme REGISTER
			south>north OPTIONS
			south>acme REGISTER
			south allocates
			south reports south true
			south>north NOTIFY
			north releases
			north reports south true`)
		p.carry("north")
		register("north")
		p.expires = 0
		if code := p.register(); code != 200 || len(p.bindings()) != 0 {
			t.Errorf("de-registered: got %d with %q, want 200 with nothing", code, p.bindings())
		}
		w.at("")
		p.expires = 300
		register("north")
		acme.bound["carol"] = []bound{{uri: "sip:carol@203.0.113.77", until: time.Now().Add(time.Hour)}} // back home: we are not told
		time.Sleep(2 * time.Minute)
		acme.bound["carol"] = nil
		w.at("")
	})
}

// Home decides: its challenges, refusals and shortest interval reach the phone; its silence is our policy's.
func TestForeignRefusals(t *testing.T) {
	inWorld(t, func(w *world) {
		acme := w.foreign(0)
		p := w.roamer("carol", "north")
		p.password = "wrong"
		if code := p.register(); code != 401 {
			t.Errorf("wrong password: got %d, want 401", code)
		}
		p.password = "secret-carol"
		for _, code := range []int{403, 404, 503} {
			acme.says = code
			if got := p.register(); got != code || string(p.last.Value(sip.RetryAfter)) != "7" {
				t.Errorf("home says %d: got %d, Retry-After %q", code, got, p.last.Value(sip.RetryAfter))
			}
		}
		w.at("")
		acme.says, acme.min = 0, 300
		if code := p.register(); code != 423 || string(p.last.Value(sip.MinExpires)) != "300" {
			t.Errorf("below home's shortest: got %d, %q, want 423 with 300", code, p.last.Value(sip.MinExpires))
		}
		if code := p.register(); code != 200 || !strings.Contains(p.bindings()[0], "expires=300") {
			t.Errorf("again: got %d, %q, want 200 for 300 s", code, p.bindings())
		}
		acme.mute = true
		began := time.Now()
		if code := p.register(); code != 503 || time.Since(began) > 5*time.Second {
			t.Errorf("home is silent: got %d after %v, want 503 within 4 s", code, time.Since(began))
		}
		o := w.offices["north"]
		o.cfg.HomeSilent.Policy, o.cfg.HomeSilent.Expires = "admit-known", roam.Duration(90*time.Second)
		w.on("north", func(s *Server) { s.Reload(o.cfg) })
		if code := p.register(); code != 200 || !strings.Contains(p.bindings()[0], "expires=90") {
			t.Errorf("home is silent, admit-known: got %d, %q, want 200 for 90 s", code, p.bindings())
		}
		acme.mute = false
		p.expires = 300
		if code := p.register(); code != 200 {
			t.Errorf("home is back: got %d, want 200", code)
		}
		w.at("north")
		o.sw.refuses = roam.NoCapacity
		q := w.roamer("dave", "north")
		if code := q.register(); code != 503 {
			t.Errorf("no capacity: got %d, want 503", code)
		}
		time.Sleep(time.Second)
		if cs := acme.contacts("dave"); len(cs) != 0 {
			t.Errorf("no capacity: home has %q, want it taken back", cs)
		}
		for n, code := range map[string]int{"erin": 200, "frank": 200, "grace": 503} { // visitors.max is 3
			o.sw.refuses = roam.OK
			if n == "grace" {
				continue
			}
			if got := w.roamer(n, "north").register(); got != code {
				t.Errorf("%s: got %d, want %d", n, got, code)
			}
		}
		if got := w.roamer("grace", "north").register(); got != 503 {
			t.Errorf("one more than agreed: got %d, want 503", got)
		}
	})
}

// Two phones with one private address, behind two offices, and two phones of one user: nobody disturbs another.
func TestForeignPrivateAddresses(t *testing.T) {
	inWorld(t, func(w *world) {
		acme := w.foreign(0)
		a, b := w.roamer("carol", "north"), w.roamer("dave", "south")
		c := w.roamer("carol", "south") // her other phone, another program at the same address
		c.device, c.contact = "urn:uuid:other", `<sip:carol@192.168.1.10:5060>;+sip.instance="<urn:uuid:other>"`
		for range 3 {
			for _, p := range []*phone{a, b, c} {
				if code := p.register(); code != 200 {
					t.Fatalf("%s at %s: got %d, want 200", p.login, p.office, code)
				}
			}
			time.Sleep(time.Minute)
		}
		all := append(acme.contacts("carol"), acme.contacts("dave")...)
		slices.Sort(all)
		if len(slices.Compact(all)) != 3 || len(acme.contacts("carol")) != 2 {
			t.Errorf("home has %q, want three, two of carol's", all)
		}
		for _, uri := range all {
			u, err := sip.ParseURI([]byte(uri))
			if err != nil {
				t.Fatal(err)
			}
			for id, o := range w.offices {
				w.on(id, func(s *Server) {
					user, _, found := s.Mirrored("acme", u.User)
					if here := strings.HasPrefix(o.toForeign().Here, u.Host+":"); found != here {
						t.Errorf("%s at %s: rings %q, %v, want %v", uri, id, user, found, here)
					}
					if _, _, found := s.Mirrored("south", u.User); found {
						t.Errorf("%s at %s rings for another partner", uri, id)
					}
				})
			}
		}
		c.expires = 0
		if code := c.register(); code != 200 || len(acme.contacts("carol")) != 1 {
			t.Errorf("one goes: got %d, %q at home, want one left", code, acme.contacts("carol"))
		}
	})
}

// A token is ours alone; a move without home's word is believed with R's only; a restart changes nothing.
func TestForeignForged(t *testing.T) {
	inWorld(t, func(w *world) {
		acme := w.foreign(0)
		p := w.roamer("carol", "north")
		if code := p.register(); code != 200 {
			t.Fatalf("got %d, want 200", code)
		}
		w.at("north")
		mirror := acme.contacts("carol")[0]
		w.on("north", func(s *Server) {
			for i := range 10_000 {
				token := transaction.NewTag() + transaction.NewTag()
				if i%2 == 0 {
					b := []byte(mirror[len("sip:") : len("sip:")+mirrorLen])
					b[i/2%mirrorLen] ^= 1 + byte(i%13)
					token = string(b)
				}
				if u, _, found := s.Mirrored("acme", token); found {
					t.Fatalf("forged token %s rings %s", token, u)
				}
			}
		})
		var refused error
		w.on("west", func(s *Server) {
			at := roam.Location{Epoch: roam.Epoch(time.Now().UnixMicro()) + 1e6, Office: "west", Switch: partnerURI("west"), Registrar: partnerURI("west")}
			s.supersede(carol, control.Supersede{To: partnerURI("north"), Contact: mirror, Device: "urn:uuid:carol", Epoch: at.Epoch, Location: at}, "acme",
				func(a control.Settled) { refused = a.Err })
		})
		time.Sleep(time.Second)
		w.on("west", func(*Server) {
			if refused != roam.NotAllowed {
				t.Errorf("a notice that R does not confirm: got %v, want it refused", refused)
			}
		})
		w.at("north")
		w.offices["north"].restart()
		time.Sleep(30 * time.Second)
		w.on("north", func(s *Server) {
			if u, _, found := s.Mirrored("acme", mirror[len("sip:"):][:mirrorLen]); !found {
				t.Errorf("after a restart home's call rings %q, %v, want carol", u, found)
			}
		})
		if code := p.register(); code != 200 || acme.contacts("carol")[0] != mirror {
			t.Errorf("after a restart: got %d with %q, want the same Contact, %s", code, acme.contacts("carol"), mirror)
		}
	})
}

// R is away: the visit is admitted, its epoch is drawn when R is back.
func TestForeignWithoutR(t *testing.T) {
	inWorld(t, func(w *world) {
		w.foreign(0)
		w.r.mu.Lock()
		w.r.away = true
		w.r.mu.Unlock()
		p := w.roamer("carol", "north")
		if code := p.register(); code != 200 {
			t.Fatalf("R away: got %d, want 200", code)
		}
		w.r.mu.Lock()
		w.r.away = false
		w.r.mu.Unlock()
		time.Sleep(time.Minute)
		if code := p.register(); code != 200 {
			t.Fatalf("R back: got %d, want 200", code)
		}
		w.at("north")
		if err := w.offices["north"].loop.Do(context.Background(), func() {
			page := w.offices["north"].reg.Owned("", 10)
			i := slices.IndexFunc(page, func(o roam.Owned) bool { return o.User == carol })
			if i < 0 || page[i].At.Office != "north" || !slices.IsSortedFunc(page, func(a, b roam.Owned) int { return cmp.Compare(a.User, b.User) }) {
				t.Errorf("the sweep gets %v, want carol's location among them, in order", page)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// What offices tell each other is worth nothing from a foreign partner, at whatever listener it comes in.
func TestForeignIsNoOffice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.foreign(0)
		p := w.roamer("carol", "north")
		if code := p.register(); code != 200 {
			t.Fatalf("got %d, want 200", code)
		}
		w.at("north")
		o := w.offices["north"]
		mirror, _ := sip.ParseURI([]byte(w.acme.contacts("carol")[0]))
		for n, ask := range []struct {
			what, line, fields, body string
			code                     int
		}{
			{"a registration message", "REGISTER sip:north.example", "To: <sip:1001@north.example>\nContact: <sip:x@acme.example>\nRoam-Ticket: x\nP-Visited-Network-ID: acme\n", "", 403},
			{"an identity query", "REGISTER sip:north.example", "To: <sip:1001@north.example>\nP-Visited-Network-ID: acme\n", "", 403},
			{"a REGISTER for its own user", "REGISTER sip:acme.example", "To: <sip:carol@acme.example>\nContact: <sip:x@acme.example>\n", "", 403},
			{"a supersede", "NOTIFY sip:north.example", "To: <sip:north.example>\nEvent: reg\nSubscription-State: terminated\nContent-Type: application/reginfo+xml\n",
				`<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="partial"><registration aor="sip:carol@acme.example" id="r" state="terminated"><contact id="c" state="terminated" event="deactivated"><uri>sip:` +
					mirror.User + `@x</uri></contact></registration></reginfo>`, 481},
			{"a profile", "NOTIFY sip:north.example", "To: <sip:north.example>\nEvent: ua-profile\nSubscription-State: active\nContent-Type: " + visitType + "\n", `{"v":1,"user":"carol@acme.example","profile":{"v":1,"rev":9}}`, 481},
			{"whether a Contact lives", "OPTIONS sip:" + mirror.User + "@192.0.2.1:5070", "To: <sip:x>\n", "", 200},
			{"whether one lives that does not", "OPTIONS sip:" + strings.Repeat("x", mirrorLen) + "@192.0.2.1:5070", "To: <sip:x>\n", "", 404},
			{"a card", "OPTIONS sip:north.example", "To: <sip:north.example>\nAccept: " + officeType + "\n", "", 200},
		} {
			callID := fmt.Sprintf("ask%d", n)
			method, _, _ := strings.Cut(ask.line, " ")
			text := ask.line + " SIP/2.0\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK" + callID + "\nMax-Forwards: 70\nFrom: <sip:acme.example>;tag=1\n" + ask.fields +
				"Call-ID: " + callID + "\nCSeq: 1 " + method + "\nContent-Length: " + strconv.Itoa(len(ask.body)) + "\n\n"
			m := &sip.Message{Flow: o.toForeign()}
			if err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")+ask.body), m); err != nil {
				t.Fatal(ask.what, err)
			}
			m.DistrustForeign()
			o.layer.Receive([]*sip.Message{m}, func() {})
			time.Sleep(time.Second)
			synctest.Wait()
			w.mu.Lock()
			heard := w.heard[callID]
			w.mu.Unlock()
			if len(heard) != 1 || heard[0].Status() != ask.code {
				t.Errorf("%s: got %d answers, want one, %d", ask.what, len(heard), ask.code)
				if len(heard) > 0 {
					t.Errorf("%s: got %d", ask.what, heard[0].Status())
				}
				continue
			}
			if len(heard[0].Body()) > 0 {
				t.Errorf("%s: was told %s", ask.what, heard[0].Body())
			}
		}
		w.at("north")
	})
}

// Under routes.mode: strict the 200 waits for R, and without R nobody is asked.
func TestForeignStrict(t *testing.T) {
	inWorld(t, func(w *world) {
		acme := w.foreign(0)
		o := w.offices["north"]
		o.cfg.Strict = true
		w.on("north", func(s *Server) { s.Reload(o.cfg) })
		p := w.roamer("carol", "north")
		if code := p.register(); code != 200 {
			t.Fatalf("got %d, want 200", code)
		}
		w.at("north")
		w.r.mu.Lock()
		w.r.away = true
		w.r.mu.Unlock()
		n := acme.count
		q := w.roamer("dave", "north")
		if code := q.register(); code != 503 || acme.count != n {
			t.Errorf("R away: got %d after %d questions to home, want 503 after none", code, acme.count-n)
		}
		if code := p.register(); code != 200 {
			t.Errorf("R away, a refresh: got %d, want 200", code)
		}
		w.r.mu.Lock()
		w.r.away, w.r.mute, w.r.lost = false, true, true
		w.r.mu.Unlock()
		if code := q.register(); code != 503 || w.here("dave@acme.example") {
			t.Errorf("R does not acknowledge: got %d, want 503 and nothing kept", code)
		}
		time.Sleep(2 * time.Second)
		if cs := acme.contacts("dave"); len(cs) != 0 {
			t.Errorf("R did not acknowledge: home has %q, want it taken back", cs)
		}
		w.r.mu.Lock()
		w.r.mute, w.r.lost = false, false
		w.r.mu.Unlock()
		if code := q.register(); code != 200 || !w.here("dave@acme.example") {
			t.Errorf("R is back: got %d, want 200", code)
		}
	})
}

// here says that north has user as a visitor.
func (w *world) here(user roam.UserID) (is bool) {
	w.on("north", func(s *Server) { is = s.here(user) })
	return is
}
