package routesrv

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
)

// office is what R said of an office.
type office struct {
	id        roam.OfficeID
	domains   []string
	ranges    []string
	rev       string
	speaks    *roam.Attributes
	registrar string
	switches  []softswitch
	judged    bool // R was reachable long enough for a missing sign of life to count
	until     time.Time
}

type softswitch struct {
	node, uri string
	alive     bool
}

// gone says that the softswitch at uri is dead, or its office is and nobody knows that address.
func (o *office) gone(uri string, dead func(softswitch) bool) bool {
	any := false
	for _, w := range o.switches {
		if w.uri == uri {
			return dead(w)
		}
		any = any || !dead(w)
	}
	return o.judged && !any
}

// peer is o for others: the first softswitch that is not dead, else the first.
func (o *office) peer(dead func(softswitch) bool) roam.Peer {
	p := roam.Peer{Office: o.id, Domains: o.domains, Ranges: o.ranges, Rev: o.rev, Speaks: o.speaks, Registrar: o.registrar, Alive: !o.judged && len(o.switches) == 0}
	for i, w := range o.switches {
		lives := !dead(w)
		if i == 0 || lives && !p.Alive {
			p.Switch = w.uri
		}
		p.Alive = p.Alive || lives
	}
	return p
}

// peer is o as we know it now.
func (s *Store) peer(o *office) roam.Peer {
	return o.peer(func(w softswitch) bool { return s.dead(w.uri) })
}

// Peer is what R knows of an office and its softswitch: from the cache or Redis; the last
// known when R is away. An office that R does not know is roam.NoRoute.
func (s *Store) Peer(id roam.OfficeID, done func(roam.Peer, error)) {
	if id == s.here.Office {
		h := s.here
		s.loop.Later(func() {
			done(roam.Peer{Office: h.Office, Domains: h.Domains, Switch: h.Switch, Registrar: h.Registrar, Alive: true}, nil)
		})
		return
	}
	o, known := s.offices.get(id)
	switch {
	case known && (s.loop.Now().Before(o.until) || !s.Up()):
		s.loop.Later(func() { done(s.peer(o), nil) })
	case !s.Up():
		s.loop.Later(func() { done(roam.Peer{}, roam.StoreAway) })
	default:
		s.askOffice(id, func(o *office, err error) {
			if err != nil {
				done(roam.Peer{}, err)
				return
			}
			done(s.peer(o), nil)
		})
	}
}

// withOffice calls fn when the office is known, or cannot be: at once, or in a later turn.
func (s *Store) withOffice(id roam.OfficeID, fn func()) {
	o, known := s.offices.get(id)
	if id == "" || id == s.here.Office || !s.Up() || known && s.loop.Now().Before(o.until) {
		fn()
		return
	}
	s.askOffice(id, func(*office, error) { fn() })
}

func (s *Store) askOffice(id roam.OfficeID, done func(*office, error)) {
	waiting, asked := s.asking[id]
	s.asking[id] = append(waiting, done)
	if !asked {
		loop.Ask(s.loop, patience, func(ctx context.Context) (*office, error) { return s.fetchOffice(ctx, id) },
			func(o *office, err error) { s.knowOffice(id, o, err) })
	}
}

// knowOffice keeps R's answer; what R does not know any more is kept as it was.
func (s *Store) knowOffice(id roam.OfficeID, o *office, err error) {
	fresh := err == nil && o != nil
	if old, known := s.offices.get(id); known && o == nil {
		o, err = old, nil
	}
	switch {
	case err != nil:
		err = s.refuse(err)
	case o == nil:
		err = roam.NoRoute
	default:
		o.until = s.loop.Now().Add(answersFor)
		s.offices.put(id, o)
		if fresh {
			s.signs(o)
		}
	}
	waiting := s.asking[id]
	delete(s.asking, id)
	for _, done := range waiting {
		done(o, err)
	}
}

// fetchOffice reads roam:office and the signs of life; nil when R knows no such office. R that has lost our own sign of
// life has lost others, too, and is no witness.
func (s *Store) fetchOffice(ctx context.Context, id roam.OfficeID) (*office, error) {
	f, err := s.client.HGetAll(ctx, officeKey(id)).Result()
	if err != nil || len(f) == 0 {
		return nil, err
	}
	o := &office{id: id, domains: strings.Fields(f["domains"]), ranges: strings.Fields(f["ranges"]), rev: f["rev"], registrar: f["registrars"], switches: readSwitches(f["softswitches"])}
	var speaks roam.Attributes
	if json.Unmarshal([]byte(f["speaks"]), &speaks) == nil {
		o.speaks = &speaks
	}
	since := s.since.Load()
	o.judged = since != 0 && time.Since(time.Unix(0, since)) > signOfLife
	lives := make([]*redis.MapStringStringCmd, len(o.switches))
	pipe := s.client.Pipeline()
	for i, w := range o.switches {
		lives[i] = pipe.HGetAll(ctx, swKey(w.node))
	}
	ours := pipe.Exists(ctx, swKey(s.node)) // the last: what it says was so before
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	o.judged = o.judged && (s.observes() || ours.Val() == 1)
	for i, l := range lives {
		if life := l.Val(); life["office"] == string(id) {
			o.switches[i].uri, o.switches[i].alive = life["uri"], true
		}
	}
	return o, nil
}

// readSwitches reads "node=uri node=uri".
func readSwitches(text string) (all []softswitch) {
	for word := range strings.FieldsSeq(text) {
		if node, uri, ok := strings.Cut(word, "="); ok && len(all) < 64 {
			all = append(all, softswitch{node: node, uri: uri})
		}
	}
	return all
}

// renew gives our sign of life, repairs our office's record, and refreshes what is known
// of others. first: R has just come back. done is false when R did not take it: it is due all the same.
func (s *Store) renew(ctx context.Context, first bool) (done bool) {
	if s.observes() {
		s.refreshOffices(ctx)
		return true
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pipe := s.client.Pipeline()
	there := pipe.Exists(within, swKey(s.node))
	pipe.HSet(within, swKey(s.node), "uri", s.here.Switch, "office", string(s.here.Office), "boot", s.boot)
	pipe.PExpire(within, swKey(s.node), signOfLife)
	card := pipe.HGet(within, officeKey(s.here.Office), "softswitches")
	listed := softswitch{node: s.node, uri: s.here.Switch}
	if _, err := pipe.Exec(within); err != nil && err != redis.Nil {
		s.refuse(err)
		return false
	}
	if there.Val() == 0 && !first { // it was there 3 s ago: R has lost more than this
		s.since.Store(time.Now().UnixNano())
		s.lose()
		signal(s.work)
	}
	if others := readSwitches(card.Val()); s.anew.Swap(false) || first || !s.registrarOnly() && !slices.Contains(others, listed) {
		if err := s.publishCard(ctx, others); err != nil {
			s.anew.Store(true)
			s.refuse(err)
			return false
		}
	}
	s.refreshOffices(ctx)
	return true
}

// publishCard writes roam:office. The office's public key is not in it: whoever can write R could replace it; it
// comes with the card that the office itself gives over TLS. Another softswitch of the office stays while it lives;
// should two write at once, the one that was overwritten notices at its next renewal.
func (s *Store) publishCard(ctx context.Context, others []softswitch) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var words []string
	for _, w := range others {
		if w.node == s.node {
			continue
		}
		if n, err := s.client.Exists(ctx, swKey(w.node)).Result(); err != nil {
			return err
		} else if n == 1 {
			words = append(words, w.node+"="+w.uri)
		}
	}
	if !s.registrarOnly() {
		words = append(words, s.node+"="+s.here.Switch)
	}
	h := s.card.Load()
	speaks, err := json.Marshal(h.Speaks)
	if err != nil { // strings and numbers: cannot be
		panic("routesrv: card: " + err.Error())
	}
	key := officeKey(h.Office)
	pipe := s.client.Pipeline()
	pipe.HSet(ctx, key, "ver", h.Version, "softswitches", strings.Join(words, " "), "registrars", h.Registrar,
		"domains", strings.Join(h.Domains, " "), "attributes", strings.Join(h.Abilities, " "), "ranges", strings.Join(h.Ranges, " "), "rev", h.Rev, "speaks", string(speaks))
	pipe.Expire(ctx, key, officeTTL)
	_, err = pipe.Exec(ctx)
	return err
}

// Announce makes card our office's from now on: its domains, ranges and attributes, which R has with the next sign of life.
func (s *Store) Announce(card roam.Card) {
	if was := s.card.Swap(&card); was.Rev != card.Rev {
		s.anew.Store(true)
	}
}

// registrarOnly says that the phones are at softswitches in other processes. Our sign of life then only says
// whether R has lost what it held.
func (s *Store) registrarOnly() bool { return s.node == string(s.here.Office) }

// refreshOffices asks again for every office in memory, so that a dead one is noticed.
func (s *Store) refreshOffices(ctx context.Context) {
	var ids []roam.OfficeID
	if s.loop.Do(ctx, func() { s.offices.each(func(id roam.OfficeID, _ *office) { ids = append(ids, id) }) }) != nil {
		return
	}
	for _, id := range ids {
		within, cancel := context.WithTimeout(ctx, patience)
		o, err := s.fetchOffice(within, id)
		cancel()
		if err != nil {
			s.refuse(err)
			return
		}
		s.loop.Deliver(func() { s.knowOffice(id, o, nil) })
	}
}
