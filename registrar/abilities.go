package registrar

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Abilities configures what devices must speak (M6). The demands on our own users travel in their profiles: home and
// the visited office both compare them with what the device says.
type Abilities struct {
	Users    roam.Demands `yaml:"users"`    // our users' devices, here and elsewhere
	Visitors roam.Demands `yaml:"visitors"` // those of other offices' users, here
}

// known is each set of abilities once: thousands of phones are of few makes. The key is what the phone wrote.
type known map[string]*roam.Abilities

const (
	mostKnown = 1000
	mostTags  = 40 // of one list
	longTag   = 64
)

// of is what the phone of req, which names first as its Contact, says that it can do: its transport, Require,
// Supported and Allow, and what its Contact says in the way of RFC 3840 (extensions, methods).
func (k known) of(req *sip.Message, first sip.Params) *roam.Abilities {
	var room [512]byte
	key := append(room[:0], byte(req.Flow.Transport))
	for _, n := range [...]sip.Name{sip.Require, sip.Supported, sip.Allow} {
		for v := range req.Lines(n) {
			key = append(append(key, v...), ',')
		}
		key = append(key, 0)
	}
	extensions, _ := first.Get("extensions")
	methods, _ := first.Get("methods")
	key = append(append(append(key, extensions...), 0), methods...)
	if a := k[string(key)]; a != nil {
		return a
	}
	a := &roam.Abilities{Transport: req.Flow.Transport}
	a.Require = tags(a.Require, req, sip.Require)
	a.Supported = split(tags(a.Supported, req, sip.Supported), extensions)
	a.Methods = split(tags(a.Methods, req, sip.Allow), methods)
	return k.keep(string(key), a)
}

func (k known) keep(key string, a *roam.Abilities) *roam.Abilities {
	if len(k) >= mostKnown {
		clear(k)
	}
	k[key] = a
	return a
}

// tags appends the elements of n's lists to all, each once.
func tags(all []string, req *sip.Message, n sip.Name) []string {
	for v := range req.Values(n) {
		all = tag(all, string(v))
	}
	return all
}

// split appends the elements of a list as a parameter has it: with commas, or with blanks as offices write it.
func split(all []string, list string) []string {
	for w := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		all = tag(all, w)
	}
	return all
}

func tag(all []string, one string) []string {
	if one == "" || len(one) > longTag || len(all) >= mostTags || slices.Contains(all, one) {
		return all
	}
	return append(all, strings.Clone(one))
}

// comes says that r binds something: who only leaves or asks need not be able to do anything.
func comes(r *control.Register) bool {
	return slices.ContainsFunc(r.Contacts, func(c control.Contact) bool { return c.Grant > 0 })
}

// fits is the refusal of a device that lacks something (M6), nil when it does not: which transports it may come by
// (488, for no code of SIP says just that, with a Warning), which of the extensions that it needs it is not given (420), or which
// that it must have it lacks (421).
func (s *Server) fits(l roam.Lack) error {
	switch {
	case l.Transports != nil:
		return s.wrongTransport(l.Transports)
	case l.Unsupported != nil:
		return &sip.Refused{Why: roam.NoAbility, Code: 420, Fields: []sip.Field{{Name: sip.Unsupported, Value: strings.Join(l.Unsupported, ", ")}}}
	case l.Missing != nil:
		return &sip.Refused{Why: roam.NoAbility, Code: 421, Fields: []sip.Field{{Name: sip.Require, Value: strings.Join(l.Missing, ", ")}}}
	}
	return nil
}

func (s *Server) wrongTransport(want []string) error {
	return &sip.Refused{Why: roam.NoAbility, Code: 488, Reason: "Transport Not Accepted", Fields: []sip.Field{
		{Name: sip.Warning, Value: "399 " + s.domain() + " " + sip.Quote("this user registers over "+strings.Join(want, " or "))}}}
}

// askable says that a user of ours, or who says so, may be challenged over t: where no user may register nobody is asked
// for credentials.
func (s *Server) askable(t roam.Transport) error {
	if want := s.cfg.Abilities.Users.Transport(t); want != nil {
		return s.wrongTransport(want)
	}
	return nil
}

// able holds a device of u against what we demand of it, and what its account says.
func (s *Server) able(u *subscriber, r *control.Register) error {
	p := u.home.Profile
	if p.Device == nil || !comes(r) {
		return nil
	}
	without(p.Device, r)
	return s.lacking(string(u.home.User), r.Device, p.Device.Compare(r.Contacts[0].Can, p.Declared))
}

// without takes from r what d gives to nobody: a flow of RFC 5626 is a contact like others then.
func without(d *roam.Demands, r *control.Register) {
	if !slices.Contains(d.Refuse, outbound) {
		return
	}
	for i := range r.Contacts {
		r.Contacts[i].RegID = 0
	}
}

// receives holds a visitor's device against what we demand of visitors: before home is asked (profile nil) what
// needs nothing of it, and then what home demands of its users, too.
func (s *Server) receives(in *inquiry, profile *roam.Profile) error {
	if !comes(&in.r) {
		return nil
	}
	can, ours := in.r.Contacts[0].Can, &s.cfg.Abilities.Visitors
	if profile == nil {
		l := ours.Compare(can, nil)
		l.Missing = nil
		without(ours, &in.r)
		return s.lacking(string(in.q.User), in.r.Device, l)
	}
	if err := s.lacking(string(in.q.User), in.r.Device, ours.Compare(can, profile.Declared)); err != nil {
		return err
	}
	return s.lacking(string(in.q.User), in.r.Device, profile.Device.Compare(can, profile.Declared))
}

// lacking is fits, told in the log.
func (s *Server) lacking(user string, d roam.Device, l roam.Lack) error {
	err := s.fits(l)
	if err == nil {
		return nil
	}
	s.log.Warn().Str("event", "register.lacks").Str("user", user).Str("device", string(d)).Strs("transports", l.Transports).
		Strs("unsupported", l.Unsupported).Strs("missing", l.Missing).Msg("device lacks what is demanded")
	return err
}

// demands is what we ask of a's devices: what we ask of all our users', and of the transports only those that the account
// names, if it does. declared is the option tags that it names.
func (s *Server) demands(a *account) (d *roam.Demands, declared []string) {
	all := s.cfg.Abilities.Users
	var own []string
	for _, w := range a.Abilities {
		switch _, transport := roam.TransportOf(w); {
		case !transport:
			declared = append(declared, w)
		case len(all.Transports) == 0 || slices.Contains(all.Transports, w):
			own = append(own, w)
		}
	}
	if own != nil {
		all.Transports = own
	}
	if all.Transports == nil && all.Require == nil && all.Refuse == nil {
		return nil, declared
	}
	return &all, declared
}

// declared is the words of an account's abilities as they are kept.
func declared(words []string) (all []string, err error) {
	for _, w := range words {
		if w == "" || len(w) > longTag || len(all) >= mostTags || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			return nil, fmt.Errorf("ability %q: %w", w, ErrAbility)
		}
		all = tag(all, w)
	}
	return all, nil
}

// appendAbilities writes a as parameters of P-Visited-Network-ID.
func appendAbilities(b []byte, a *roam.Abilities) []byte {
	if a == nil {
		return b
	}
	if a.Transport != roam.NoTransport {
		b = append(append(b, ";transport="...), a.Transport.Word()...)
	}
	for _, l := range [...]struct {
		key  string
		list []string
	}{{"require", a.Require}, {"supported", a.Supported}, {"methods", a.Methods}} {
		if len(l.list) > 0 {
			b = append(append(append(b, ';'), l.key...), '=')
			b = sip.AppendQuoted(b, strings.Join(l.list, " "))
		}
	}
	return b
}

// told is what an office says of a device in the parameters of P-Visited-Network-ID; nil when it says nothing.
func (k known) told(p sip.Params) *roam.Abilities {
	var room [512]byte
	key := append(room[:0], 'P')
	var a roam.Abilities
	lists := [...]string{"transport", "require", "supported", "methods"}
	found := false
	for i, name := range lists {
		lists[i], _ = p.Get(name)
		found = found || lists[i] != ""
		key = append(append(key, lists[i]...), 0)
	}
	if !found {
		return nil
	}
	if known := k[string(key)]; known != nil {
		return known
	}
	a.Transport, _ = roam.TransportOf(lists[0])
	a.Require, a.Supported, a.Methods = split(nil, lists[1]), split(nil, lists[2]), split(nil, lists[3])
	return k.keep(string(bytes.Clone(key)), &a)
}
