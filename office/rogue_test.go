package office_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip"
)

// rogue is west, which holds its own certificate and all that it has ever seen as a visited office, and has been told
// what crossed between north and south as well.
type rogue struct {
	*three
	t            *testing.T
	north, south *wire
	tries        int
	got          map[string]map[int]int // what was answered, by kind
}

// tried notes the answer to one try: it must be one of want, and must tell nothing.
func (r *rogue) tried(kind string, res *sip.Message, want ...int) {
	r.t.Helper()
	r.tries++
	if r.got[kind] == nil {
		r.got[kind] = map[int]int{}
	}
	if r.got[kind][res.Status()]++; !slices.Contains(want, res.Status()) && r.got[kind][res.Status()] < 3 {
		r.t.Errorf("%s: got %d %s, want %v", kind, res.Status(), res.Reason(), want)
	}
	if len(res.Body()) > 0 || res.Value(sip.RoamTicket) != nil {
		r.t.Errorf("%s: told\n%s%s", kind, res.Value(sip.RoamTicket), res.Body())
	}
}

// changed is text with one octet changed, another one each time.
func changed(text string, i int) string {
	b := []byte(text)
	at := i % len(b)
	b[at] = "AZaz09-_"[(i/len(b)+int(b[at])+1)%8]
	if string(b) == text {
		b[at] = 'Q'
	}
	return string(b)
}

const (
	cardType  = "Content-Type: application/vnd.siproam.office+json\n"
	newest    = "9007199254740000"
	visitType = "Content-Type: application/vnd.siproam.visit+json\n"
)

// TestRogueOffice: ten thousand times a partner says over SIP what is not its to say of users who are not with it: as a
// registration, a supersede, a profile, a question, a call in their name. Not one is taken; each is counted, and told seldom. Then
// everybody is served as before.
func TestRogueOffice(t *testing.T) {
	log, logger := logged(t, "info")
	x := startThreeLogged(t, logger, nil)
	heard := x.tapped()
	alice, bob := at(t, x, "1001", "south"), at(t, x, "1002", "north")
	unplug, err := x.plug(x.phone("1003", "west", phone.Config{Answer: phone.Talk})) // was with west
	if err != nil {
		t.Fatal(err)
	}
	x.located("1003", "west")
	message := func(user, office string) *sip.Message {
		return heard.last(func(m *sip.Message) bool {
			to, err := m.To()
			return err == nil && m.Method() == sip.REGISTER && m.Value(sip.RoamTicket) != nil && to.URI.User == user &&
				strings.HasPrefix(string(m.Value(sip.PVisitedNetworkID)), office)
		})
	}
	answered := func(user, office string) string { // its digest, as it went home
		m := heard.last(func(m *sip.Message) bool {
			to, err := m.To()
			return err == nil && m.Method() == sip.REGISTER && m.Value(sip.Authorization) != nil && to.URI.User == user && strings.HasPrefix(string(m.Value(sip.PVisitedNetworkID)), office)
		})
		if m == nil {
			t.Fatalf("no digest of %s at %s", user, office)
		}
		return string(m.Value(sip.Authorization))
	}
	own, theirs := message("1003", "west"), message("1001", "south")
	if own == nil || theirs == nil {
		t.Fatal("no registration messages on the wire")
	}
	ownDigest, theirDigest := answered("1003", "west"), answered("1001", "south")
	unplug()
	carol := at(t, x, "1003", "south") // and went on
	alike := func() string {
		return x.state() + x.redis("HGETALL", "roam:loc:{1003@north.example}") + x.redis("GET", "roam:ep:{1003@north.example}")
	}
	r := &rogue{three: x, t: t, north: x.dialAs("north", "west"), south: x.dialAs("south", "west"), got: map[string]map[int]int{}}
	before, begun := alike(), time.Now()
	for i := 0; r.tries < 10_000; i++ {
		r.registrations(i, own, theirs)
		r.questions(i, ownDigest, theirDigest)
		r.notices(i, own, theirs)
		r.callsInTheirNames(i, string(theirs.Value(sip.RoamTicket)))
	}
	x.eventually("calls are over", func() error {
		if calls, err := x.house.Calls(t.Context(), ""); err != nil || len(calls) > 0 {
			return fmt.Errorf("%v %v", calls, err)
		}
		return nil
	})
	if after := alike(); after != before {
		t.Errorf("something changed:\n got %s\nwant %s", after, before)
	}
	t.Logf("%d tries: %v", r.tries, r.got)

	count := uint64(0)
	for _, o := range x.house.Offices[:2] {
		for _, f := range o.Metrics().Families() {
			if f.Name != "partner_trespasses_total" {
				continue
			}
			for _, kind := range []string{"network", "ticket", "supersede", "profile", "identity"} {
				n, _ := f.With("west", kind).Count()
				count += n
			}
		}
	}
	if count < uint64(r.tries*2/3) { // the rest are wrong logins, old tickets and calls that lead nowhere, which are counted as such
		t.Errorf("got %d of %d counted as trespasses of west, want two thirds", count, r.tries)
	}
	lines := 0
	for _, l := range log.all(t) {
		if event := l["event"]; event == "partner.trespass" || event == "call.refused" || event == "auth.failed" || event == "ticket.bad" {
			lines++
		}
	}
	if most := 20 * (1 + int(time.Since(begun).Minutes())); lines == 0 || lines > most {
		t.Errorf("got %d lines about it, want a few", lines)
	}

	for _, one := range []struct {
		from *phone.Phone
		to   string
	}{{alice, "1002"}, {bob, "1001"}, {bob, "1003"}, {carol, "1001"}} {
		call, err := one.from.Call(within(t, 10*time.Second), "sip:"+one.to+"@north.example")
		if err != nil {
			t.Fatalf("afterwards, a call to %s: %v", one.to, err)
		}
		if err := call.Hangup(within(t, 10*time.Second)); err != nil {
			t.Error(err)
		}
	}
	at(t, x, "2003", "west") // an honest visitor of west
}

// registrations: registration messages at home.
func (r *rogue) registrations(i int, own, theirs *sip.Message) {
	ask := func(kind, user, network, ticket string, want ...int) {
		expires := []string{"300", "0", "3600"}[i%3]
		headers := "P-Visited-Network-ID: " + network + "\nContact: <sip:token@127.0.0.1:9;transport=tls>\nExpires: " + expires + "\nTo: <sip:" + user + "@north.example>\n" + cardType
		if ticket != "" {
			headers += "Roam-Ticket: " + ticket + "\n"
		}
		r.tried(kind, r.north.ask("REGISTER sip:north.example", headers, string(own.Body())), want...)
	}
	mine, other := string(own.Value(sip.RoamTicket)), string(theirs.Value(sip.RoamTicket))
	device := func(m *sip.Message) string {
		_, params, _ := strings.Cut(string(m.Value(sip.PVisitedNetworkID)), ";")
		return ";" + params
	}
	ask("a visit without a ticket", "1001", "west"+device(theirs), "", 403)
	ask("a visit with another office's ticket", "1001", "west"+device(theirs), other, 403)
	ask("the same in its name", "1001", "south"+device(theirs), other, 403)
	ask("a visit with a changed ticket", "1001", "west"+device(theirs), changed(other, i), 403)
	ask("an own ticket, changed", "1003", "west"+device(own), changed(mine, i), 403)
	ask("an own ticket for another user", "1001", "west"+device(own), mine, 403)
	ask("an own ticket for another device", "1003", "west;device=\"urn:uuid:"+strconv.Itoa(i)+"\"", mine, 403)
	ask("an own ticket of a user who has gone on", "1003", "west"+device(own), mine, 500)
	ask("nonsense for a ticket", "1002", "west", strings.Repeat("A", 1+i%500), 403)
}

// questions: identity queries.
func (r *rogue) questions(i int, own, theirs string) {
	ask := func(kind, user, network, digest string, want ...int) {
		headers := "P-Visited-Network-ID: " + network + "\nRoam-Digest: REGISTER;uri=\"sip:north.example\"\nTo: <sip:" + user + "@north.example>\n"
		if digest != "" {
			headers += "Authorization: " + digest + "\n"
		}
		r.tried(kind, r.north.ask("REGISTER sip:north.example", headers, ""), want...)
	}
	from := ";from=\"" + strconv.Itoa(i) + "\""
	ask("a digest that was used", "1003", "west"+from, own, 401)
	ask("another office's digest", "1001", "west"+from, theirs, 401)
	ask("the same in its name", "1001", "south"+from, theirs, 403)
	ask("a digest for another user", "1001", "west"+from, own, 401)
	ask("a question in nobody's name", "1001", "", own, 403)
	ask("a question in home's name", "1001", "north", own, 403)
}

// notices: supersedes and profiles.
func (r *rogue) notices(i int, own, theirs *sip.Message) {
	uri := func(o string) string { return "sip:" + strings.TrimPrefix(r.office(o).Config().PartnerListen, "tls:") }
	tell := func(kind string, w *wire, to, user, ticket string, want ...int) {
		gone := `<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="partial"><registration aor="sip:` + user + `@north.example" id="r1" state="terminated">` +
			`<contact id="c1" state="terminated" event="deactivated"><uri>sip:a@b</uri></contact><location xmlns="urn:siproam:location" epoch="` + newest +
			`" office="west" softswitch="` + r.office("west").Config().URI + `" registrar="` + r.office("west").Config().URI + `"></location></registration></reginfo>`
		headers := "Event: reg\nSubscription-State: terminated;reason=noresource\nContact: <sip:someone@192.0.2.9>\nContent-Type: application/reginfo+xml\n"
		if ticket != "" {
			headers += "Roam-Ticket: " + ticket + "\nRoam-Epoch: " + newest + "\n"
		}
		r.tried(kind, w.ask("NOTIFY "+to, headers, gone), want...)
	}
	mine, other := string(own.Value(sip.RoamTicket)), string(theirs.Value(sip.RoamTicket))
	tell("a supersede without a word of home's", r.south, uri("south"), "1001", "", 403)
	tell("a supersede with the ticket that the visit stands on", r.south, uri("south"), "1001", other, 403)
	tell("a supersede with a changed ticket", r.south, uri("south"), "1003", changed(mine, i), 403)
	tell("a supersede with another user's ticket", r.south, uri("south"), "1001", mine, 403)
	tell("a supersede with an older ticket: nothing comes of it", r.south, uri("south"), "1003", mine, 200)
	tell("a supersede to home", r.north, uri("north"), "1001", mine, 403)
	profile := fmt.Sprintf(`{"v":1,"user":"1001@north.example","profile":{"v":1,"rev":%s,"name":"somebody else","number":"+1900%07d"}}`, newest, i)
	r.tried("a profile of another's user", r.south.ask("NOTIFY "+uri("south"), "Event: ua-profile\nSubscription-State: terminated\nContact: <sip:a@b>\n"+visitType, profile), 403)
	r.tried("a profile to home", r.north.ask("NOTIFY "+uri("north"), "Event: ua-profile\nSubscription-State: terminated\nContact: <sip:a@b>\n"+visitType, profile), 481)
}

// callsInTheirNames: identities asserted, dialogs and tokens guessed.
func (r *rogue) callsInTheirNames(i int, token string) {
	call := func(kind string, w *wire, to, as string, want ...int) {
		headers := "Contact: <sip:x@127.0.0.1:9;transport=tls>\nTo: <" + to + ">\nContent-Type: application/sdp\nRoam-Epoch: " + newest + "\n"
		if as != "" {
			headers += "P-Asserted-Identity: <sip:" + as + ">\nFrom: <sip:" + as + ">;tag=r" + strconv.Itoa(i) + "\n"
		}
		r.tried(kind, w.ask("INVITE "+to, headers, claimedSDP), want...)
	}
	call("a call in the name of one who left", r.north, "sip:1002@north.example", "1003@north.example", 403)
	call("a call in the name of one who never came", r.north, "sip:1002@north.example", "1001@north.example", 403)
	call("a call in the name of its own user to itself", r.south, "sip:2002@south.example", "2001@south.example", 403)
	call("a call in nobody's name", r.south, "sip:1001@north.example", "", 403)
	if i%8 == 0 { // these go further before they are refused
		call("a call to a guessed token", r.south, "sip:"+changed(token[:40], i)+"@127.0.0.1", "3001@west.example", 404)
		call("a call for another's user who is not there", r.south, "sip:1002@north.example", "3001@west.example", 404)
	}
	for _, method := range []string{"BYE", "INFO", "UPDATE"} {
		headers := "To: <sip:1001@north.example>;tag=" + changed("abcdefghijklmnop", i) + "\nContact: <sip:a@b>\n"
		r.tried("a guessed dialog", r.south.ask(method+" sip:"+changed(token[:40], i)+"@127.0.0.1", headers, ""), 481)
	}
}
