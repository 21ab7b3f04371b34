package metric

import (
	"sync"
	"time"
)

// Seldom says when something that may come thousands of times a second is worth a line of log: the first time, and
// then once a minute. The zero Seldom is ready; it is safe anywhere. Keys are few: kinds, partners.
type Seldom struct {
	mu   sync.Mutex // guards what follows
	said map[string]*said
}

type said struct {
	at    time.Time
	since uint64
}

const (
	seldom    = time.Minute
	mostKinds = 1000 // then all is forgotten
)

// Worth counts one of key; yes says that it is worth a line, since how many came after the last one, without it.
func (s *Seldom) Worth(now time.Time, key string) (since uint64, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.said[key]
	switch {
	case k == nil:
		if s.said == nil || len(s.said) >= mostKinds {
			s.said = map[string]*said{}
		}
		s.said[key] = &said{at: now}
		return 0, true
	case now.Sub(k.at) < seldom:
		k.since++
		return 0, false
	}
	since, k.at, k.since = k.since, now, 0
	return since, true
}

// Trespasses is partner_trespasses_total, the one family into which every part counts what a partner asked or said that
// is not its to ask or say: whoever asks first makes it.
func (s *Set) Trespasses() *Counter {
	return s.shared("partner_trespasses_total", "What other offices asked or said of users, visits or records that are not theirs, all refused.", "partner", "kind")
}
