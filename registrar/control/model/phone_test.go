package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

const (
	brief   = 5 * time.Minute
	longest = time.Hour
	pause   = 30 * time.Second // of a phone whose REGISTER was refused or not answered
)

// phone is one SIP phone: it registers, refreshes at half time, and tries again when it may not.
type phone struct {
	user     *user
	name     string
	n        int
	device   roam.Device
	at       int // the office where it is plugged in, -1: off
	callID   string
	boots    int
	cseq     uint32
	password int
	changes  int // grows with whatever is done with the phone
	try      *attempt
	next     *happening
	asks     time.Duration // instead of what grant says
}

func (p *phone) leased() bool { return strings.HasPrefix(string(p.device), "mac:") }

// grant is what p asks for: every other phone registers for an hour.
func (p *phone) grant() time.Duration {
	if p.asks != 0 {
		return p.asks
	}
	if p.n%2 == 0 {
		return longest
	}
	return brief
}

// flowAt is the way to p in that office.
func (p *phone) flowAt(n int) roam.Flow {
	number := 0
	fmt.Sscan(string(p.user.id[:4]), &number)
	return roam.Flow{Transport: roam.UDP, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n), byte(number - 1000), byte(p.n)}), 5060)}
}

// attempt is one REGISTER.
type attempt struct {
	phone    *phone
	at       int
	device   roam.Device
	callID   string
	cseq     uint32
	grant    time.Duration
	star     bool
	person   bool
	password int
	sent     time.Time
	changes  int

	// As the office saw it:
	passwordThen int
	served       bool
	lives        time.Time
	boot         int
}

func (a *attempt) uri() string     { return "sip:" + a.phone.name + "@" + string(officeID(a.at)) }
func (a *attempt) flow() roam.Flow { return a.phone.flowAt(a.at) }

// register is the event.
func (a *attempt) register() control.Register {
	r := control.Register{Device: a.device, CallID: a.callID, CSeq: a.cseq, Star: a.star, Person: a.person}
	if !a.star {
		r.Contacts = []control.Contact{{Target: roam.Target{URI: a.uri(), Flow: a.flow(), Q: 1000, Device: a.device}, Grant: a.grant}}
	}
	return r
}

// plug has p plugged in at an office, restarted or carried there running.
func (w *world) plug(p *phone, at int, restarted, person bool) {
	if restarted || p.callID == "" {
		p.boots++
		p.callID = fmt.Sprintf("%s.%d", p.name, p.boots)
	}
	p.at = at
	p.changed()
	w.log("phone %s (%q) at %s: plugged in, call %s", p.name, p.device, officeID(at), p.callID)
	w.register(p, p.grant(), person)
}

func (p *phone) changed() {
	p.changes++
	p.user.changes++
}

// register sends a REGISTER, and repeats it until it is answered.
func (w *world) register(p *phone, grant time.Duration, person bool) {
	p.cseq++
	a := &attempt{phone: p, at: p.at, device: p.device, callID: p.callID, cseq: p.cseq, grant: grant, person: person, password: p.password, passwordThen: -1, sent: w.now, changes: p.changes}
	p.try = a
	p.later(w, pause, "no answer")
	w.request(a)
}

// later has p register again after d.
func (p *phone) later(w *world, d time.Duration, label string) {
	if p.next != nil {
		p.next.fn = nil
	}
	p.next = w.after(nil, d, "phone: "+label, func() { w.register(p, p.grant(), false) })
}

// request brings a to its office.
func (w *world) request(a *attempt) {
	o := w.offices[a.at]
	w.send(phones, a.at, "REGISTER", func() { o.registers(a) })
}

// registers takes a phone's REGISTER.
func (o *office) registers(was *attempt) {
	copied := *was
	a := &copied
	a.boot, a.served, a.lives = o.boot, false, time.Time{}
	for _, c := range o.bound(a.phone) {
		if c.Live(o.now) && !o.busy(a.phone) { // what a change under way has bound may be taken back (strict)
			a.served, a.lives = true, c.Until
		}
	}
	reply := func(got control.Answer) {
		o.refused(o, a, got.Why)
		o.log("%s: answers %s %d, %v: %v", o.id, a.phone.name, a.cseq, a.grant, got.Why)
		if got.Why == roam.OK {
			o.stats.answers++
		} else {
			o.stats.refusals++
		}
		grant := a.grant
		for _, c := range o.bound(a.phone) {
			grant = min(grant, c.Grant)
		}
		o.send(o.n, phones, "answer", func() { a.phone.answered(o.world, a, got.Why, grant) })
	}
	if a.phone.user.home == o.n {
		o.registerHome(a, reply)
	} else {
		o.registerOther(a, reply)
	}
}

// bound is p's contacts here.
func (o *office) bound(p *phone) (cs []control.Contact) {
	mine := func(all []control.Contact) {
		for _, c := range all {
			if c.Target.Flow == p.flowAt(o.n) {
				cs = append(cs, c)
			}
		}
	}
	if p.user.home == o.n {
		if s := o.subscriber(p.user.id); s != nil {
			for _, at := range s.home.At {
				mine(at.Contacts)
			}
		}
		return cs
	}
	for _, v := range o.visitors {
		if v.visit.User == p.user.id && v.visit.Serving() {
			mine(v.visit.Contacts)
		}
	}
	return cs
}

// busy says that a change of p's user is under way here.
func (o *office) busy(p *phone) bool {
	if s := o.subscriber(p.user.id); s != nil && s.home.Busy() {
		return true
	}
	return slices.ContainsFunc(o.visitors, func(v *visitor) bool { return v.visit.User == p.user.id && v.visit.Busy() })
}

// serves says that p is registered here.
func (o *office) serves(p *phone) bool {
	return slices.ContainsFunc(o.bound(p), func(c control.Contact) bool { return c.Live(o.now) })
}

// sent says that p's registration here has been ended by one elsewhere, of which the office keeps the memory.
func (o *office) sent(p *phone) bool {
	if s := o.subscriber(p.user.id); s != nil {
		return slices.ContainsFunc(s.home.Left, func(l control.Left) bool { return l.Device == p.device && l.Office == o.id })
	}
	v := o.visitor(p.user.id, p.device)
	return v != nil && v.visit.Gone != nil
}

// answered is the answer at the phone.
func (p *phone) answered(w *world, a *attempt, why roam.Refusal, grant time.Duration) {
	if p.try == nil || p.try.cseq != a.cseq || p.at < 0 {
		return
	}
	p.try = nil
	switch {
	case why == roam.OK && a.grant > 0:
		p.later(w, max(grant/2, time.Second), "refresh")
		w.promise(p)
	case why == roam.BadCredentials && a.password == p.user.password && a.sent.Before(w.offices[p.user.home].booted): // a stale nonce
		p.later(w, 10*time.Millisecond, "another nonce")
	default:
		p.later(w, pause, "again")
	}
}

// refreshes has every phone that is on refresh, as it will sooner or later, within a minute.
func (w *world) refreshes() {
	for i, u := range w.users {
		for _, p := range u.phones {
			if p.at >= 0 && p.try == nil {
				p.later(w, time.Duration(i%60)*time.Second, "refresh")
			}
		}
	}
}

// notice has the softswitches notice which phones are off (M12). Those that are elsewhere are not noticed, for they are for the
// supersedes, unless they have no name: a REGISTER of theirs that was late may have taken the user from where they are.
func (w *world) notice() {
	for _, u := range w.users {
		for _, p := range u.phones {
			for _, o := range w.offices {
				if (p.at < 0 || p.at != o.n && p.device == "") && len(o.bound(p)) > 0 {
					o.silent(p)
				}
			}
		}
	}
}

// off takes the plug out.
func (w *world) off(p *phone) {
	if p.at < 0 {
		return
	}
	w.log("phone %s: off", p.name)
	p.at, p.try = -1, nil
	if p.next != nil {
		p.next.fn = nil
	}
	p.changed()
}

// bye has p say that it goes, with Expires 0 or Contact: *.
func (w *world) bye(p *phone, star bool) {
	if p.at < 0 {
		return
	}
	w.log("phone %s: says bye, all %v", p.name, star)
	w.register(p, 0, false)
	p.try.star = star
	w.off(p)
}
