package registrar

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/store"
)

// world is three offices with a wire between them that never sleeps on a socket, and one R.
type world struct {
	t       *testing.T
	offices map[roam.OfficeID]*site
	r       *store3
	acme    *elsewhere // a foreign home; nil: none

	mu     sync.Mutex // guards what follows
	ladder []rung     // what offices said to each other, and to R
	wire   []wired    // all that offices sent to each other
	heard  map[string][]*sip.Message
	cut    map[roam.OfficeID]bool // nothing comes from or goes to it
	closed map[roam.OfficeID]bool // it refuses connections
	lose   func(from, to roam.OfficeID, m *sip.Message) bool
	slow   func(from, to roam.OfficeID, m *sip.Message) time.Duration
}

// wired is one message between offices.
type wired struct {
	from, to roam.OfficeID
	text     string
}

// rung is one line of the ladder.
type rung struct {
	at   time.Time
	text string
}

// site is one office.
type site struct {
	w     *world
	id    roam.OfficeID
	addr  netip.AddrPort
	cfg   Config
	loop  *loop.Loop
	layer *transaction.Layer
	file  *store.File
	reg   *Server
	sw    *fakeSwitch
	m     *metric.Set
	log   bytes.Buffer

	halt, running, stop func() // the loop; the file; both
}

func host(o roam.OfficeID) string       { return "sip." + string(o) + ".example" }
func partnerURI(o roam.OfficeID) string { return "sip:" + host(o) + ":5067;transport=tls" }

// inWorld runs fn in a bubble with three offices, north, south and west; alice is north's.
func inWorld(t *testing.T, fn func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, offices: map[roam.OfficeID]*site{}, heard: map[string][]*sip.Message{}, cut: map[roam.OfficeID]bool{}, closed: map[roam.OfficeID]bool{}}
		w.r = &store3{w: w, at: map[roam.UserID]roam.Location{}, floor: map[roam.UserID]roam.Epoch{}, ids: map[string]roam.Identity{}, dead: map[roam.OfficeID]bool{}}
		for i, id := range []roam.OfficeID{"north", "south", "west"} {
			o := &site{w: w, id: id, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 5060)}
			o.cfg = DefaultConfig()
			o.cfg.Names = []string{string(id) + ".example", host(id), o.addr.Addr().String()}
			o.cfg.Card = roam.Card{Office: id, Domains: []string{string(id) + ".example"}, Switch: partnerURI(id), Registrar: partnerURI(id)}
			o.cfg.Numbers = &roam.Numbers{Country: "1"}
			for _, p := range []roam.OfficeID{"north", "south", "west"} {
				if p != id {
					a := roam.Partner{Office: p}
					a.Visitors.Max = 5
					o.cfg.Partners = append(o.cfg.Partners, a)
				}
			}
			w.offices[id] = o
		}
		for _, o := range w.offices {
			o.start()
		}
		w.add("north", "1001", "alice")
		w.add("north", "1002", "bob")
		time.Sleep(5 * time.Second) // each tells the others that it has started
		synctest.Wait()
		w.ladder = nil
		for _, o := range w.offices {
			o.log.Reset()
		}
		defer func() {
			for _, o := range w.offices {
				o.stop()
			}
		}()
		fn(w)
	})
}

// start makes the office from its file and runs it.
func (o *site) start() {
	t := o.w.t
	var err error
	if o.file == nil {
		if o.file, err = store.Open(":memory:", Schema); err != nil {
			t.Fatal(err)
		}
	}
	o.loop = loop.New(1000, 100)
	o.m = &metric.Set{}
	o.layer = transaction.NewLayer(o.loop, o, o.m, zerolog.Nop())
	o.sw = &fakeSwitch{o: o}
	if o.reg, err = New(o.cfg, o.loop, o.layer, o.file, o.sw, o.w.r.from(o), nil, o.m, zerolog.New(&o.log)); err != nil {
		t.Fatal(err)
	}
	m := transaction.NewMux("outbound")
	m.Handle(sip.REGISTER, "", o.reg)
	m.Handle(sip.OPTIONS, "", o.reg)
	m.Handle(sip.NOTIFY, "reg", o.reg)
	m.Handle(sip.NOTIFY, "ua-profile", o.reg)
	m.Handle(sip.NOTIFY, startEvent, o.reg)
	o.layer.Handle(m)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { o.loop.Run(ctx) })
	o.halt = func() {
		cancel()
		wg.Wait()
	}
	if o.running == nil {
		fctx, fcancel := context.WithCancel(context.Background())
		end := make(chan struct{})
		go func() { o.file.Run(fctx); close(end) }()
		o.running = func() { fcancel(); <-end; o.file.Close() }
	}
	o.stop = func() { o.halt(); o.running() }
}

// restart is a process that died and one that takes its place: memory is gone, the file is there.
func (o *site) restart() {
	o.halt()
	synctest.Wait()
	o.start()
	synctest.Wait()
}

// Send, Find, Reach and Open are the office's transport.
func (o *site) Send(f *sip.Flow, b []byte) error {
	b = bytes.Clone(b)
	time.AfterFunc(time.Millisecond, func() { o.w.deliver(o, f, b) })
	return nil
}
func (o *site) Find(k roam.Flow) (*sip.Flow, bool) { return &sip.Flow{Flow: k}, true }
func (o *site) Reach(_ context.Context, u sip.URI) ([]sip.Hop, error) {
	return []sip.Hop{{Transport: roam.TLS, Name: u.Host}}, nil
}
func (o *site) Open(ctx context.Context, h sip.Hop) (*sip.Flow, error) {
	if h.Name == proxy {
		return o.toForeign(), nil
	}
	for id, peer := range o.w.offices {
		o.w.mu.Lock()
		closed := o.w.closed[id]
		o.w.mu.Unlock()
		if host(id) == h.Name && closed {
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
			}
			return nil, fmt.Errorf("%s: no route to host", h.Name)
		}
		if host(id) == h.Name {
			return flowBetween(o, peer), nil
		}
	}
	return nil, fmt.Errorf("no route to %s", h.Name)
}

// Renew is transaction.Sender's: no connection is lost here without a word.
func (o *site) Renew(_ context.Context, _ sip.Hop, old *sip.Flow, _ time.Time) (*sip.Flow, error) {
	return old, nil
}

// flowBetween is the partner connection from a to b, as a sees it.
func flowBetween(a, b *site) *sip.Flow {
	return &sip.Flow{Flow: roam.Flow{Transport: roam.TLS, Conn: 1, Local: a.addr, Remote: b.addr}, Here: host(a.id) + ":5067", Partner: b.id}
}

// deliver brings b to the other end of f.
func (w *world) deliver(from *site, f *sip.Flow, b []byte) {
	m := &sip.Message{}
	if err := sip.Parse(b, m); err != nil {
		w.t.Errorf("%s sent what cannot be read: %v\n%s", from.id, err, b)
		return
	}
	w.mu.Lock()
	if f.Foreign != "" && m.IsRequest() {
		w.mu.Unlock()
		w.acme.take(from, f, m)
		return
	}
	if f.Partner == "" {
		if m.Status() >= 200 {
			w.heard[m.CallID()] = append(w.heard[m.CallID()], m)
		}
		w.mu.Unlock()
		return
	}
	lost := w.cut[from.id] || w.cut[f.Partner] || w.lose != nil && w.lose(from.id, f.Partner, m)
	w.wire = append(w.wire, wired{from.id, f.Partner, string(b)})
	if m.IsRequest() {
		note := fmt.Sprintf("%s>%s %s", from.id, f.Partner, m.Method())
		switch {
		case m.Method() == sip.REGISTER && m.Value(sip.Contact) == nil:
			note += " query"
		case m.Method() == sip.REGISTER:
			note += " message"
		}
		w.ladder = append(w.ladder, rung{time.Now(), note})
	}
	late := time.Duration(1) // a timer due at once would run here, beside the bubble's others: -race has one context for both, and dies
	if w.slow != nil {
		late = w.slow(from.id, f.Partner, m)
	}
	w.mu.Unlock()
	if to := w.offices[f.Partner]; to != nil && !lost {
		m.Flow = flowBetween(to, from)
		time.AfterFunc(late, func() { to.layer.Receive([]*sip.Message{m}, func() {}) })
	}
}

func (w *world) note(f string, a ...any) {
	w.mu.Lock()
	w.ladder = append(w.ladder, rung{time.Now(), fmt.Sprintf(f, a...)})
	w.mu.Unlock()
}

// fakeSwitch serves whom it is told to.
type fakeSwitch struct {
	o       *site
	refuses roam.Refusal
	serves  []string // user and device
}

func (s *fakeSwitch) Allocate(line roam.Line, done func(roam.Refusal)) {
	if s.refuses == roam.OK {
		name := string(line.User) + " " + string(line.Targets[0].Device)
		if !slices.Contains(s.serves, name) {
			s.serves = append(s.serves, name)
		}
		s.o.w.note("%s allocates", s.o.id)
	}
	s.o.loop.Later(func() { done(s.refuses) })
}

func (s *fakeSwitch) Release(user roam.UserID, d roam.Device, gone roam.Location) {
	s.serves = slices.DeleteFunc(s.serves, func(n string) bool { return n == string(user)+" "+string(d) })
	s.o.w.note("%s releases", s.o.id)
}

// store3 is R.
type store3 struct {
	w         *world
	mu        sync.Mutex // guards what follows
	at        map[roam.UserID]roam.Location
	floor     map[roam.UserID]roam.Epoch
	ids       map[string]roam.Identity
	away      bool
	mute      bool                     // takes a report, says nothing in time
	muteTo    roam.OfficeID            // likewise, but to this office only
	lost      bool                     // with mute: does not even take it
	dead      map[roam.OfficeID]bool   // gives no sign of life
	asked     int                      // questions and reports: commands to Redis, at most
	revs      map[roam.OfficeID]string // of cards
	ranges    map[roam.OfficeID][]string
	ambiguous string                          // an extension that several offices have
	lies      map[roam.OfficeID]roam.OfficeID // says the one is where the other is
}

// view is R as one office sees it.
type view struct {
	*store3
	o *site
}

func (r *store3) from(o *site) *view { return &view{r, o} }

func (v *view) Identify(a sip.AOR, done func(roam.UserID, roam.OfficeID, error)) {
	v.mu.Lock()
	v.asked++
	id, found := v.ids[string(a)]
	away := v.away
	v.mu.Unlock()
	v.o.loop.Later(func() {
		switch {
		case away:
			done("", "", roam.StoreAway)
		case a != "" && string(a) == v.ambiguous:
			done("", "", roam.Ambiguous)
		case !found:
			done("", "", roam.NoSuchUser)
		default:
			done(id.User, id.Home, nil)
		}
	})
}

func (v *view) Locate(user roam.UserID, _ bool, done func(roam.Location, error)) {
	v.mu.Lock()
	v.asked++
	at := v.at[user]
	v.mu.Unlock()
	v.o.loop.Later(func() { done(at, nil) })
}

func (v *view) Up() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.away
}

func (v *view) Report(user roam.UserID, at roam.Location, _ string, done func(roam.Location, error)) {
	v.mu.Lock()
	v.asked++
	if at.Epoch == 0 {
		at.Epoch = max(v.floor[user]+1, roam.Epoch(time.Now().UnixMicro()))
	}
	mute := v.mute || v.muteTo == v.o.id
	ok := !v.away && !(mute && v.lost) && (at.Epoch > v.floor[user] || at.Epoch == v.floor[user] && at.Office == v.at[user].Office)
	if ok {
		v.at[user], v.floor[user] = at, at.Epoch
	}
	now := v.at[user]
	now.Epoch = v.floor[user]
	var err error
	if v.away || mute {
		now, err = roam.Location{}, roam.StoreAway
	}
	v.mu.Unlock()
	v.w.note("%s reports %s %v", v.o.id, at.Office, ok)
	if mute {
		v.o.loop.After(300*time.Millisecond, func() { done(now, err) })
		return
	}
	v.o.loop.Later(func() { done(now, err) })
}

func (v *view) Publish(ids, gone []roam.Identity) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, i := range gone {
		delete(v.ids, i.Name)
	}
	for _, i := range ids {
		v.ids[i.Name] = i
	}
}

func (v *view) Peer(o roam.OfficeID, done func(roam.Peer, error)) {
	v.mu.Lock()
	at, alive, rev, ranges := cmp.Or(v.lies[o], o), !v.dead[o], v.revs[o], v.ranges[o]
	v.mu.Unlock()
	v.o.loop.Later(func() {
		done(roam.Peer{Office: o, Domains: []string{string(o) + ".example"}, Switch: partnerURI(at), Registrar: partnerURI(at), Rev: rev, Ranges: ranges, Alive: alive}, nil)
	})
}

func (w *world) add(o roam.OfficeID, short, alias string) {
	domain := string(o) + ".example"
	err := w.offices[o].reg.Add(context.Background(), []Account{{User: User{ID: roam.UserID(short + "@" + domain), Name: alias, Short: short,
		Number: "+1555000" + short, Aliases: []string{alias + "@" + domain}}, Password: "secret-" + short}})
	if err != nil {
		w.t.Fatal(err)
	}
}

// phone is a phone of alice's that can be carried from office to office.
type phone struct {
	w        *world
	office   roam.OfficeID
	login    string
	password string
	home     string // realm; "": north.example
	to       string // AOR
	uri      string // Request-URI
	device   string
	callID   string
	cseq     int
	port     uint16
	ip       string // "": 198.51.100.7
	contact  string // "": made of port
	expires  int
	extra    string // more header fields
	nonce    string
	nc       int
	last     *sip.Message
	auth     string // Authorization of the last REGISTER
	front    bool   // it comes by a foreign front

	transport  roam.Transport // 0: UDP
	digestURI  string         // "": uri
	method     string         // that the digest is for; "": REGISTER
	unfiltered bool           // what the transport should take out stays in

	edge roam.SwitchID // that holds its flow, in a process of its own
}

func (w *world) phone() *phone {
	return &phone{w: w, office: "north", login: "1001", password: "secret-1001", to: "sip:1001@north.example", uri: "sip:north.example",
		device: "urn:uuid:a", callID: "first", port: 40001, expires: 300}
}

// carry takes the phone to another office and switches it on there.
func (p *phone) carry(o roam.OfficeID) *phone {
	p.office, p.callID, p.port, p.nonce = o, transaction.NewTag(), p.port+1, ""
	return p
}

func (p *phone) flow() *sip.Flow {
	o := p.w.offices[p.office]
	if p.front {
		return o.toForeign()
	}
	return &sip.Flow{Flow: roam.Flow{Edge: p.edge, Transport: cmp.Or(p.transport, roam.UDP), Local: o.addr, Remote: netip.AddrPortFrom(netip.MustParseAddr(cmp.Or(p.ip, "198.51.100.7")), p.port)}, Here: o.addr.String()}
}

// text is one REGISTER.
func (p *phone) text(authorization string) string {
	p.cseq++
	contact := p.contact
	if contact == "" {
		contact = fmt.Sprintf("<sip:1001@198.51.100.7:%d>;+sip.instance=\"<%s>\"", p.port, p.device)
	}
	if contact == "none" {
		contact = ""
	} else {
		contact = "Contact: " + contact + "\n"
	}
	return "REGISTER " + p.uri + " SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.7:" + fmt.Sprint(p.port) + ";branch=z9hG4bK" + transaction.NewTag() + ";rport\nMax-Forwards: 70\nFrom: <" +
		p.to + ">;tag=1\nTo: <" + p.to + ">\nCall-ID: " + p.callID + "\nCSeq: " + fmt.Sprint(p.cseq) + " REGISTER\n" + contact +
		"Expires: " + fmt.Sprint(p.expires) + "\nUser-Agent: test\n" + p.extra + authorization + "Content-Length: 0\n\n"
}

// authorization answers the last challenge.
func (p *phone) authorization() string {
	uri := cmp.Or(p.digestURI, p.uri)
	h := func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }
	p.nc++
	nc := fmt.Sprintf("%08x", p.nc)
	response := h(h(p.login+":"+p.realm()+":"+p.password) + ":" + p.nonce + ":" + nc + ":c:auth:" + h(cmp.Or(p.method, "REGISTER")+":"+uri))
	return fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, qop=auth, cnonce=\"c\", nc=%s\n",
		p.login, p.realm(), p.nonce, uri, response, nc)
}

func (p *phone) realm() string { return cmp.Or(p.home, "north.example") }

// post sends text as a datagram.
func (p *phone) post(text string) (callID string) {
	p.w.t.Helper()
	m := &sip.Message{Flow: p.flow()}
	if err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")), m); err != nil {
		p.w.t.Fatal(err)
	}
	switch {
	case p.front:
		m.DistrustForeign()
	case !p.unfiltered:
		m.Distrust()
	}
	callID = m.CallID()
	p.w.offices[p.office].layer.Receive([]*sip.Message{m}, func() {})
	return callID
}

// send is post, and gives the answer.
func (p *phone) send(text string) *sip.Message {
	p.w.t.Helper()
	_, rest, _ := strings.Cut(text, "\nCall-ID: ")
	callID, _, _ := strings.Cut(rest, "\n")
	before := p.w.answers(callID)
	p.post(text)
	for range 200 {
		time.Sleep(100 * time.Millisecond)
		if synctest.Wait(); p.w.answers(callID) > before {
			break
		}
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	all := p.w.heard[callID]
	if len(all) == before {
		p.w.t.Fatalf("no answer to\n%s", text)
	}
	p.last = all[len(all)-1]
	return p.last
}

func (w *world) answers(callID string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.heard[callID])
}

// register registers, with a challenge first when there is none yet or it is stale.
func (p *phone) register() int {
	p.w.t.Helper()
	for try := 0; ; try++ {
		authorization := ""
		if p.nonce != "" {
			authorization = p.authorization()
		}
		p.auth = authorization
		res := p.send(p.text(authorization))
		if res.Status() != 401 || try == 2 || p.nonce != "" && !strings.Contains(string(res.Value(sip.WWWAuthenticate)), "stale=true") {
			return res.Status()
		}
		p.take(res)
	}
}

// take takes the nonce of a challenge.
func (p *phone) take(res *sip.Message) {
	p.nonce, p.nc = nonceIn(string(res.Value(sip.WWWAuthenticate))), 0
}

// bindings is the Contacts of the last answer.
func (p *phone) bindings() (cs []string) {
	for v := range p.last.Values(sip.Contact) {
		cs = append(cs, string(v))
	}
	return cs
}

// on runs fn on o's loop.
func (w *world) on(o roam.OfficeID, fn func(s *Server)) {
	w.t.Helper()
	if err := w.offices[o].loop.Do(context.Background(), func() { fn(w.offices[o].reg) }); err != nil {
		w.t.Fatal(err)
	}
}

const alice = roam.UserID("1001@north.example")

// agree asserts that R, home and every office say that alice is at o, and nowhere else.
func (w *world) agree(o roam.OfficeID) {
	w.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	w.r.mu.Lock()
	r := w.r.at[alice]
	w.r.mu.Unlock()
	if r.Office != o {
		w.t.Errorf("R: alice is at %q, want %q\n%v", r.Office, o, w.ladder)
	}
	w.on("north", func(s *Server) {
		if l := s.users[alice].home.Location; l.Office != o || l.Epoch != r.Epoch {
			w.t.Errorf("home: alice is at %v, want %v", l, o)
		}
		if owed := s.users[alice].home.Owed; len(owed) > 0 {
			w.t.Errorf("home owes %v", owed)
		}
	})
	for id, site := range w.offices {
		w.on(id, func(s *Server) {
			served := slices.ContainsFunc(site.sw.serves, func(n string) bool { return strings.HasPrefix(n, string(alice)) })
			if served != (id == o) {
				w.t.Errorf("%s serves alice: %v, want %v", id, served, id == o)
			}
			if id != "north" && s.here(alice) != (id == o) {
				w.t.Errorf("%s has alice as visitor: %v, want %v", id, s.here(alice), id == o)
			}
			if len(s.waits) > 0 || s.questions.all != 0 || len(s.questions.offices) > 0 {
				w.t.Errorf("%s: %d requests wait for ever, %+v", id, len(s.waits), s.questions)
			}
		})
	}
}
