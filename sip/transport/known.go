package transport

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	maxKnown    = 4096           // answers
	maxRecords  = 32             // of an answer
	longest     = 24 * time.Hour // an answer holds
	longestNone = 5 * time.Minute
	shortNone   = 10 * time.Second   // where the zone does not say
	keptFor     = 3 * 24 * time.Hour // the last good answer, while DNS is away (RFC 8767)
	lostFor     = 5 * time.Second    // what got no answer is not asked again (RFC 9520)
)

// question is a name, canonical and with its dot, and a kind of record.
type question struct {
	name string
	kind uint16
}

// entry is what DNS said last, if ever, and since when it does not.
type entry struct {
	records []dns.RR // none: there is none
	fresh   time.Time
	kept    time.Time // zero: DNS never said
	lost    time.Time // until then it is not asked
}

// known is a bounded memory of answers.
type known struct {
	mu   sync.Mutex // guards all and away
	all  map[question]*entry
	away time.Time // until then whoever has an old answer does not ask: no server says anything
}

// what is known of a question.
type knowledge uint8

const (
	unknown knowledge = iota
	fresh
	stale // ask, and take the old answer when none comes
	lost  // it was asked just now, in vain
)

// recall is what is known of q.
func (k *known) recall(q question) ([]dns.RR, knowledge) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.all[q]
	switch {
	case a == nil:
		return nil, unknown
	case now.Before(a.fresh):
		return a.records, fresh
	case now.Before(a.kept) && now.Before(k.away):
		return a.records, fresh // as fresh as can be
	case now.Before(a.kept):
		return a.records, stale
	case now.Before(a.lost):
		return nil, lost
	}
	return nil, unknown
}

// keep notes an answer that holds for ttl seconds.
func (k *known) keep(q question, records []dns.RR, ttl uint32) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = time.Time{}
	k.put(q, &entry{records: records, fresh: now.Add(time.Duration(ttl) * time.Second), kept: now.Add(keptFor)})
}

// lose notes that DNS says nothing of q. The last good answer stays.
func (k *known) lose(q question) {
	until := time.Now().Add(lostFor)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = until
	a := k.all[q]
	if a == nil {
		a = &entry{}
	}
	a.lost = until
	k.put(q, a)
}

// put makes room first: any other answer goes, since asking again costs little.
func (k *known) put(q question, a *entry) {
	if k.all == nil {
		k.all = map[question]*entry{}
	}
	if _, there := k.all[q]; !there && len(k.all) >= maxKnown {
		for one := range k.all {
			delete(k.all, one)
			break
		}
	}
	k.all[q] = a
}
