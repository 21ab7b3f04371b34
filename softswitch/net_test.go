package softswitch

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// network joins nodes in memory: what one sends the other receives, unless lose says so.
type network struct {
	t     testing.TB
	nodes map[netip.AddrPort]*node
	names map[string]netip.AddrPort // partner hosts
	acme  netip.AddrPort            // of a foreign partner; offices have :5070 for it
	down  map[netip.AddrPort]string // "refused" or "silent"
	ctx   context.Context
	wg    sync.WaitGroup

	router  *store
	offices map[roam.OfficeID]*office
	phones  []*phone

	quick  bool // on the real clock
	forget bool // keep no list of what was sent

	mu      sync.Mutex
	reached []string // "west.example tls"
	sent    []string // "192.0.2.1:5060 INVITE sip:…", in order
	log     bytes.Buffer
}

// node is one end: a loop with its layers, and the addresses it has.
type node struct {
	net   *network
	addrs []netip.AddrPort
	loop  *loop.Loop
	tl    *transaction.Layer
	table *dialog.Table
	lose  func(line string) bool
	shaky func() bool // loses datagrams
}

func (n *node) Send(f *sip.Flow, b []byte) error {
	line, _, _ := strings.Cut(string(b), "\r\n")
	net := n.net
	if !net.forget {
		net.mu.Lock()
		net.sent = append(net.sent, f.Local.String()+" "+line)
		net.mu.Unlock()
	}
	to := net.nodes[f.Remote]
	if to == nil || net.down[f.Remote] == "silent" || n.lose != nil && n.lose(line) || n.shaky != nil && f.Transport == roam.UDP && n.shaky() {
		return nil
	}
	m := &sip.Message{Flow: net.flow(f.Transport, f.Remote, f.Local)}
	if err := sip.Parse(bytes.Clone(b), m); err != nil {
		net.t.Errorf("sent what cannot be read: %v\n%s", err, b)
		return nil
	}
	switch {
	case m.Flow.Foreign != "":
		m.DistrustForeign()
	case m.Flow.Partner == "":
		m.Distrust()
	}
	to.tl.Receive([]*sip.Message{m}, func() {})
	return nil
}

// flow is the flow between two addresses as local sees it.
func (net *network) flow(tr roam.Transport, local, remote netip.AddrPort) *sip.Flow {
	f := &sip.Flow{Flow: roam.Flow{Transport: tr, Local: local, Remote: remote}, Here: local.String()}
	if remote == net.acme {
		f.Foreign = "acme"
	}
	for host, addr := range net.names {
		if addr == remote {
			f.Partner = roam.OfficeID(strings.TrimSuffix(host, ".example"))
		}
		if addr == local {
			f.Here = host + ":5067"
		}
	}
	return f
}

func (n *node) Find(key roam.Flow) (*sip.Flow, bool) {
	if n.net.nodes[key.Remote] == nil {
		return nil, false
	}
	return n.net.flow(key.Transport, key.Local, key.Remote), true
}

func (n *node) Reach(_ context.Context, u sip.URI) ([]sip.Hop, error) {
	if a, found := n.net.names[u.Host]; found {
		n.net.mu.Lock()
		n.net.reached = append(n.net.reached, u.Host+" "+u.Transport())
		n.net.mu.Unlock()
		return []sip.Hop{{Transport: roam.TLS, Addr: a.String()}}, nil
	}
	if u.Host == "" {
		return nil, errors.New("no host")
	}
	return []sip.Hop{{Transport: roam.UDP, Addr: fmt.Sprintf("%s:%d", u.Host, u.Port)}}, nil
}

func (n *node) Open(ctx context.Context, h sip.Hop) (*sip.Flow, error) {
	a := netip.MustParseAddrPort(h.Addr)
	if n.net.down[a] == "refused" {
		return nil, errors.New("connection refused")
	}
	if n.net.down[a] == "hanging" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	local := n.addrs[0]
	if h.Transport == roam.TLS {
		local = n.addrs[1]
	} else if a == n.net.acme {
		local = n.addrs[2]
	}
	return n.net.flow(h.Transport, local, a), nil
}

// Renew is transaction.Sender's: no connection is lost here without a word.
func (n *node) Renew(_ context.Context, _ sip.Hop, old *sip.Flow, _ time.Time) (*sip.Flow, error) {
	return old, nil
}

func (net *network) node(addrs ...string) *node {
	n := &node{net: net, loop: loop.New(4096, 64)}
	for _, a := range addrs {
		n.addrs = append(n.addrs, netip.MustParseAddrPort(a))
		net.nodes[n.addrs[len(n.addrs)-1]] = n
	}
	n.tl = transaction.NewLayer(n.loop, n, nil, zerolog.Nop())
	return n
}

func (n *node) run(h transaction.Handler) {
	n.table = dialog.New(n.loop, n.tl, h, zerolog.Nop())
	n.tl.Handle(n.table)
	n.net.wg.Go(func() { n.loop.Run(n.net.ctx) })
}

// do runs fn on the node's loop and waits until all is quiet.
func (n *node) do(fn func()) {
	if err := n.loop.Do(n.net.ctx, fn); err != nil {
		n.net.t.Errorf("loop: %v", err)
	}
	if !n.net.quick {
		synctest.Wait()
	}
}

// office is a softswitch with the neighbours it needs.
type office struct {
	*node
	id      roam.OfficeID
	sw      *Switch
	dir     *directory
	rows    map[string]roam.CDR
	writes  []string // ids in the order they were written, "open" or "end" behind
	bridges int      // open ones
	limit   int      // most bridges, 0: any
	diskErr error    // what the ledger says
}

// office makes the office id at 192.0.2.n: phones at :5060, partners at :5067.
func (net *network) office(id roam.OfficeID, ip string, cfg Config) *office {
	o := &office{node: net.node(ip+":5060", ip+":5067"), id: id, rows: map[string]roam.CDR{}}
	host := string(id) + ".example"
	net.names[host] = o.addrs[1]
	cfg.Card = roam.Card{Office: id, Domains: []string{host}, Switch: "sip:" + host + ":5067;transport=tls"}
	cfg.Names, cfg.Node, cfg.Boot = []string{host, ip}, "node-"+string(id), 1
	if cfg.ChallengeCalls == "" {
		cfg.ChallengeCalls = "never"
	}
	o.dir = &directory{office: o, lines: map[roam.UserID]roam.Line{}, names: map[sip.AOR]roam.UserID{}, flows: map[netip.AddrPort][]roam.UserID{}}
	o.sw = New(cfg, o.loop, o.tl, router{net.router, o.loop}, nil, o, nil, zerolog.New(&syncWriter{net: net}))
	o.sw.open = o.media
	o.run(o.sw)
	o.sw.Serve(o.dir, o.table)
	net.router.peers[id] = roam.Peer{Office: id, Domains: cfg.Card.Domains, Switch: cfg.Card.Switch, Alive: true}
	net.offices[id] = o
	return o
}

type syncWriter struct{ net *network }

func (w *syncWriter) Write(b []byte) (int, error) {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	return w.net.log.Write(b)
}

// Write is Ledger's; the disk is slow.
func (o *office) Write(_ uint64, cdrs []roam.CDR, done func(error)) {
	for _, cdr := range cdrs {
		o.rows[cdr.ID] = cdr
		state := " end"
		if cdr.End.IsZero() {
			state = " open"
		}
		o.writes = append(o.writes, cdr.Role+state)
	}
	err := o.diskErr
	o.loop.After(20*time.Millisecond, func() { done(err) })
}

// row is the record of user, which must be the only one.
func (o *office) row(user roam.UserID) roam.CDR {
	o.net.t.Helper()
	var found []roam.CDR
	for _, r := range o.rows {
		if r.User == user {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		o.net.t.Errorf("%s has %d records of %s, want 1", o.id, len(found), user)
		return roam.CDR{}
	}
	return found[0]
}

// media gives a bridge without sockets: it marks each SDP it passes.
func (o *office) media(call string, silent func()) (bridge, error) {
	if o.limit > 0 && o.bridges >= o.limit {
		return nil, roam.NoCapacity
	}
	o.bridges++
	return &fakeBridge{office: o, silent: silent}, nil
}

type fakeBridge struct {
	office *office
	silent func()
	closed bool
	joined string
	held   bool
	peer   media.Peer // of the leg that spoke last
}

func (b *fakeBridge) Pass(from, to string, sdp []byte, peer, toPeer media.Peer) ([]byte, error) {
	if bytes.Contains(sdp, []byte("unusable")) {
		return nil, roam.NotAcceptable
	}
	b.peer = peer
	return fmt.Appendf(nil, "%s>%s:%s", b.office.id, from[:1]+">"+to[:1], sdp), nil
}
func (b *fakeBridge) Join(leg string) { b.joined = leg }
func (b *fakeBridge) Drop(string)     {}
func (b *fakeBridge) State() media.State {
	return media.State{Codec: "PCMA", Held: b.held, A: roam.Traffic{Packets: 50}, B: roam.Traffic{Packets: 49, Lost: 1}}
}
func (b *fakeBridge) Close() media.State {
	if b.closed {
		b.office.net.t.Error("bridge closed twice")
	}
	b.closed = true
	b.office.bridges--
	return b.State()
}

// directory is the registrar as tests fill it.
type directory struct {
	office *office
	lines  map[roam.UserID]roam.Line
	names  map[sip.AOR]roam.UserID
	flows  map[netip.AddrPort][]roam.UserID
}

func (d *directory) Line(u roam.UserID) (roam.Line, bool)  { l, found := d.lines[u]; return l, found }
func (d *directory) Resolve(a sip.AOR) (roam.UserID, bool) { u, found := d.names[a]; return u, found }
func (d *directory) Whose(f *sip.Flow, claims []sip.AOR) (roam.UserID, bool, bool) {
	users := d.flows[f.Remote]
	for _, c := range claims {
		if u, found := d.names[c]; found && slices.Contains(users, u) {
			return u, true, false
		}
	}
	if len(users) == 1 {
		return users[0], true, false
	}
	return "", false, len(users) > 1
}
func (d *directory) Proven(f *sip.Flow, token string, _ []sip.AOR) (roam.UserID, bool) {
	u := roam.UserID(token + "@north.example")
	return u, f.Foreign != "" && slices.Contains(d.flows[f.Remote], u)
}
func (d *directory) Mirrored(home roam.OfficeID, token string) (roam.UserID, roam.Device, bool) {
	name, device, found := strings.Cut(token, "-") // as tests write it
	user := roam.UserID(name + "@acme.example")
	return user, roam.Device(device), found && d.lines[user].Home.Office == home
}
func (d *directory) Authenticate(req *sip.Message, user roam.UserID, done func(roam.UserID, error)) {
	got := string(req.Value(sip.ProxyAuthorization))
	d.office.loop.After(time.Millisecond, func() {
		if got == "" {
			done("", &sip.Refused{Why: roam.BadCredentials, Code: 407, Fields: []sip.Field{{Name: sip.ProxyAuthenticate, Value: `Digest realm="test"`}}})
			return
		}
		done(roam.UserID(got), nil)
	})
}

// store is R, shared by all offices; away makes it fail.
type store struct {
	mu    sync.Mutex
	locs  map[roam.UserID]roam.Location
	stale map[roam.UserID]roam.Location // what caches still say
	ids   map[sip.AOR]roam.Identity
	many  sip.AOR // an extension that several offices have
	peers map[roam.OfficeID]roam.Peer
	away  bool
	slow  time.Duration // Redis takes so long; negative: it never answers

	doubted map[roam.OfficeID]bool // who was found silent, and is dead therefore
}

type router struct {
	*store
	loop *loop.Loop
}

func (r router) Locate(u roam.UserID, fresh bool, done func(roam.Location, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, err := r.locs[u], error(nil)
	if old, found := r.stale[u]; found && !fresh {
		at = old
	}
	if r.away {
		at, err = roam.Location{}, roam.StoreAway
	}
	switch {
	case r.slow == 0:
		r.loop.Later(func() { done(at, err) })
	case r.slow > 0:
		r.loop.After(r.slow, func() { done(at, err) })
	}
}

func (r router) Identify(a sip.AOR, done func(roam.UserID, roam.OfficeID, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, found := r.ids[a]
	err := error(nil)
	if !found {
		err = roam.NoSuchUser
	}
	if a == r.many && a != "" {
		id, err = roam.Identity{}, roam.Ambiguous
	}
	if r.away {
		id, err = roam.Identity{}, roam.StoreAway
	}
	r.loop.Later(func() { done(id.User, id.Home, err) })
}

func (r router) Peer(o roam.OfficeID, done func(roam.Peer, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, found := r.peers[o]
	r.loop.Later(func() {
		if !found {
			done(p, roam.NoRoute)
			return
		}
		done(p, nil)
	})
}

func (r router) Dead(at roam.Location) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doubted[at.Office] || at.Suspect
}

func (r router) Doubt(o roam.OfficeID, _ string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubted[o] = true
}

// phone is a plain UA.
type phone struct {
	*node
	user    roam.UserID
	at      *office // where it is registered
	answer  func(p *phone, tx *transaction.Server)
	onLater func(p *phone, tx *transaction.Server, req *sip.Message) // in-dialog requests
	offered string                                                   // in the last INVITE it got
	invited []*sip.Message
	acks    []string // bodies of ACKs
	d       *dialog.Dialog
	dialogs []*dialog.Dialog
	ringing *transaction.Server // their INVITE
	got     []int               // of our own INVITE
	bodies  []string
	ended   []dialog.End
	res     *sip.Message // the last final one
	onOK    func()
	onEnd   func()
	tr      roam.Transport
}

func (p *phone) Progress(res *sip.Message) {
	p.got = append(p.got, res.Status())
	p.bodies = append(p.bodies, string(res.Body()))
	if res.Status() >= 200 {
		p.res = res.Keep()
		if p.onOK != nil {
			p.onOK()
			return
		}
		p.d.Ack("", nil)
	}
}
func (p *phone) Request(tx *transaction.Server, req *sip.Message) {
	if tx == nil {
		p.acks = append(p.acks, string(req.Body()))
		return
	}
	if p.onLater != nil {
		p.onLater(p, tx, req)
		return
	}
	tx.Refuse(roam.NoAbility)
}
func (p *phone) Ended(e dialog.End) {
	if e.Res != nil {
		e.Res = e.Res.Keep()
		p.got = append(p.got, e.Res.Status())
	}
	if e.Req != nil {
		e.Req = e.Req.Keep()
	}
	p.ended = append(p.ended, e)
	if p.onEnd != nil {
		p.onEnd()
	}
}

// phone makes a phone of user at ip:port, registered nowhere yet. It rings and answers.
func (net *network) phone(user roam.UserID, addr string) *phone {
	p := &phone{node: net.node(addr), user: user, answer: ringAnswer, tr: roam.UDP}
	net.phones = append(net.phones, p)
	p.run(transaction.HandlerFunc(func(tx *transaction.Server, req *sip.Message) error {
		if req.Method() != sip.INVITE {
			return roam.NoAbility
		}
		p.offered = string(req.Body())
		p.d = p.table.Accept(tx, "", p)
		p.invited = append(p.invited, tx.Request())
		p.ringing = tx
		p.answer(p, tx)
		return nil
	}))
	return p
}

// ringAnswer is 180, and 200 with SDP a second later.
func ringAnswer(p *phone, tx *transaction.Server) {
	d := p.d
	d.Respond(tx, dialog.Answer{Code: 180})
	p.loop.After(time.Second, func() {
		if !tx.Answered() {
			d.Respond(tx, dialog.Answer{Code: 200, Type: sdpType, Body: []byte("answer of " + p.user)})
		}
	})
}

// ringOnly is 180, and nothing more.
func ringOnly(p *phone, tx *transaction.Server) { p.d.Respond(tx, dialog.Answer{Code: 180}) }

// refusing answers code at once.
func refusing(code int) func(p *phone, tx *transaction.Server) {
	return func(p *phone, tx *transaction.Server) { p.d.Respond(tx, dialog.Answer{Code: code}) }
}

// register puts p's user, or one more device of it, into o's directory; home "" says that o is home.
func (p *phone) register(o *office, home roam.OfficeID, epoch roam.Epoch) *phone {
	p.net.addUser(p.user)
	p.at = o
	d := o.dir
	line := d.lines[p.user]
	if home != "" {
		h := p.net.offices[home]
		line.Visitor, line.Home = true, h.sw.cfg.Card
		dial := h.sw.cfg.Numbers
		line.Profile = profileOf(p.user)
		line.Profile.Dial = &dial
		d.names[sip.AOR(p.user)] = p.user
		d.names[sip.AOR(numberOf(p.user))] = p.user
	}
	line.Epoch, line.Gone = epoch, nil
	line.Targets = append(line.Targets, roam.Target{URI: "sip:" + p.addrs[0].String(), Flow: roam.Flow{Transport: p.tr, Local: o.addrs[0], Remote: p.addrs[0]}})
	d.lines[p.user] = line
	d.flows[p.addrs[0]] = append(d.flows[p.addrs[0]], p.user)
	p.net.router.locs[p.user] = roam.Location{Epoch: epoch + 1, Office: o.id, Switch: o.sw.cfg.Card.Switch}
	if home != "" { // home's table says roaming
		h := p.net.offices[home].dir
		l := h.lines[p.user]
		l.Epoch = epoch + 1
		l.Targets = append(l.Targets, roam.Target{URI: o.sw.cfg.Card.Switch, Office: o.id})
		h.lines[p.user] = l
	}
	return p
}

func profileOf(u roam.UserID) *roam.Profile {
	name, _, _ := strings.Cut(string(u), "@")
	return &roam.Profile{Version: 1, Name: "User " + name, Number: numberOf(u), Short: name}
}

// numberOf is +1555000 and the extension.
func numberOf(u roam.UserID) string {
	name, _, _ := strings.Cut(string(u), "@")
	return "+1555000" + name
}

// addUser makes user known at home and in R.
func (net *network) addUser(user roam.UserID) {
	name, host, _ := strings.Cut(string(user), "@")
	home := roam.OfficeID(strings.TrimSuffix(host, ".example"))
	for _, a := range []sip.AOR{sip.AOR(user), sip.AOR(numberOf(user))} {
		net.router.ids[a] = roam.Identity{Name: string(a), User: user, Home: home}
		net.offices[home].dir.names[a] = user
	}
	_ = name
	if _, found := net.offices[home].dir.lines[user]; !found {
		net.offices[home].dir.lines[user] = roam.Line{User: user, Profile: profileOf(user)}
	}
}

// call has p invite uri, "2001" for short, with an SDP offer unless there is none.
func (p *phone) call(uri string, offer string, fields ...sip.Field) {
	p.callFrom(p.at, string(p.user), uri, offer, fields...)
}

func (p *phone) callFrom(o *office, from, uri, offer string, fields ...sip.Field) {
	if !strings.Contains(uri, ":") {
		if !strings.Contains(uri, "@") {
			uri += "@" + o.addrs[0].Addr().String()
		}
		uri = "sip:" + uri
	}
	p.do(func() {
		in := dialog.Invite{To: transaction.Destination{Flow: p.net.flow(p.tr, p.addrs[0], o.addrs[0])}, URI: uri,
			From: sip.Address{Raw: "sip:" + from}, ToAddr: sip.Address{Raw: uri}, Fields: fields}
		if offer != "" {
			in.Type, in.Body = sdpType, []byte(offer)
		}
		p.d = p.table.Invite(in, p)
		p.dialogs = append(p.dialogs, p.d)
	})
}

// bye has p end its call.
func (p *phone) bye() { p.do(func() { p.d.Bye(0, "") }) }

// last is the last status p's INVITE got.
func (p *phone) last() int {
	if len(p.got) == 0 {
		return 0
	}
	return p.got[len(p.got)-1]
}

// logged is what the offices have logged.
func (net *network) logged() string {
	net.mu.Lock()
	defer net.mu.Unlock()
	return net.log.String()
}

// pass lets d go by. Each loop is spoken to before: what the test has read so far happened before
// what their timers do now.
func (net *network) pass(d time.Duration) {
	for _, n := range net.nodes {
		_ = n.loop.Do(net.ctx, func() {})
	}
	time.Sleep(d)
	synctest.Wait()
}

// world runs a story in a bubble with the three offices of the tests, and looks that nothing
// is left after it.
func world(t *testing.T, story func(t *testing.T, net *network, north, south, west *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := &network{t: t, nodes: map[netip.AddrPort]*node{}, names: map[string]netip.AddrPort{}, down: map[netip.AddrPort]string{}, offices: map[roam.OfficeID]*office{},
			router: &store{locs: map[roam.UserID]roam.Location{}, stale: map[roam.UserID]roam.Location{}, ids: map[sip.AOR]roam.Identity{}, peers: map[roam.OfficeID]roam.Peer{}, doubted: map[roam.OfficeID]bool{}}}
		ctx, stop := context.WithCancel(t.Context())
		net.ctx = ctx
		numbers := func(own, public string, others map[string]roam.OfficeID) Config {
			return Config{Numbers: roam.Numbers{Country: "1", International: "011", National: "1", Extensions: map[string]string{own: public}, OtherOffices: others, Emergency: []string{"911"}}}
		}
		north := net.office("north", "192.0.2.1", numbers("1xxx", "+15550001xxx", map[string]roam.OfficeID{"2xxx": "south", "3xxx": "west"}))
		south := net.office("south", "192.0.2.2", numbers("2xxx", "+15550002xxx", map[string]roam.OfficeID{"1xxx": "north", "3xxx": "west"}))
		west := net.office("west", "192.0.2.3", numbers("3xxx", "+15550003xxx", map[string]roam.OfficeID{"1xxx": "north", "2xxx": "south"}))
		defer func() { stop(); net.wg.Wait() }()
		story(t, net, north, south, west)
		net.pass(5 * time.Minute)
		net.quiet()
	})
}

// quiet looks that nothing is left anywhere.
func (net *network) quiet() {
	nodes := map[string]*node{}
	for _, p := range net.phones {
		nodes["phone "+string(p.user)] = p.node
	}
	for id, o := range net.offices {
		nodes[string(id)] = o.node
		o.do(func() {
			if len(o.sw.calls) != 0 || len(o.sw.busy) != 0 || o.bridges != 0 {
				net.t.Errorf("%s: left %d calls, %d busy users, %d bridges", id, len(o.sw.calls), len(o.sw.busy), o.bridges)
			}
			for i := range kinds {
				if n := o.sw.count.now[i].Load(); n != 0 {
					net.t.Errorf("%s: left %d calls of kind %s in the gauge", id, n, kinds[i])
				}
			}
			for _, r := range o.rows {
				if r.End.IsZero() || r.Cause == 0 || r.By == "" || r.Reason == "" || r.Home == "" {
					net.t.Errorf("%s: record %+v is not closed", id, r)
				}
			}
		})
	}
	for name, n := range nodes {
		n.do(func() {
			if n.table.Len() != 0 || n.tl.Len() != 0 || n.loop.Timers() != 0 {
				net.t.Errorf("%s: left %d dialogs, %d transactions, %d timers", name, n.table.Len(), n.tl.Len(), n.loop.Timers())
			}
		})
	}
}
