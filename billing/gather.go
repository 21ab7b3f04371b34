package billing

import (
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// The records of many calls are written in one change: at hundreds of calls a second a commit, a statement and a turn
// of the loop for each of them cost more than the rows do. Nobody waits for a record but the memory of its call.
const (
	gatherFor  = 20 * time.Millisecond // from the first record to its change; a crash within it loses what it holds
	groupCalls = 256                   // then a group goes at once: the writer has others to serve
	maxCalls   = 16 * groupCalls       // that wait while the store takes none; then theirs is store.ErrFull
)

// entry is what one call has to write: its records, all in one state.
type entry struct {
	call     uint64
	first, n int  // of group.cdrs
	up       bool // the call is up: one row of cdr_up
	was      bool // the call was up: it has a row in cdr_up, written before
	void     bool // the call ended before its row of cdr_up was written, which is not needed then
	done     func(error)
}

// group is what is written together. The loop fills it; then it is the writer's until the loop is told the end.
type group struct {
	entries []entry
	cdrs    []roam.CDR
	timer   *loop.Timer

	text []byte // the writer's: the records as JSON, one after another, or as an array those of a call that is up
	ends []int  // where each of these ends in text
	rows []row
	up   []any // of cdr_up, three a row
	gone []any // keys of cdr_up
}

// add takes a copy of the records of one call, and says where the call stands.
func (g *group) add(e entry, cdrs []roam.CDR) (at int) {
	e.first, e.n = len(g.cdrs), len(cdrs)
	g.cdrs = append(g.cdrs, cdrs...)
	g.entries = append(g.entries, e)
	return len(g.entries) - 1
}

// alone is the entry at i as a group of its own.
func (g *group) alone(i int) *group {
	e, one := g.entries[i], &group{}
	one.add(e, g.cdrs[e.first:e.first+e.n])
	return one
}

// reset makes g ready to be filled again.
func (g *group) reset() {
	clear(g.entries)
	clear(g.cdrs)
	clear(g.rows)
	clear(g.up)
	g.entries, g.cdrs, g.rows, g.up, g.gone, g.timer = g.entries[:0], g.cdrs[:0], g.rows[:0], g.up[:0], g.gone[:0], nil
}

// change writes g: the records of calls that have ended to cdr, those of calls that are up to cdr_up.
func (g *group) change(tx store.Tx, here roam.OfficeID, boot uint64) error {
	g.encode()
	g.rows, g.up, g.gone = g.rows[:0], g.up[:0], g.gone[:0]
	text, began, piece := string(g.text), 0, 0
	next := func() (s string) {
		s, began = text[began:g.ends[piece]], g.ends[piece]
		piece++
		return s
	}
	for i := range g.entries {
		switch e := &g.entries[i]; {
		case e.void:
		case e.up:
			g.up = append(g.up, rowOf(e.call, boot), stamp(g.cdrs[e.first].Start), next())
		default:
			for j := range e.n {
				g.rows = append(g.rows, newRow(&g.cdrs[e.first+j], here, next()))
			}
			if e.was {
				g.gone = append(g.gone, rowOf(e.call, boot))
			}
		}
	}
	if err := putUp(tx, g.up); err != nil {
		return err
	}
	if err := replaceAll(tx, g.rows, boot); err != nil {
		return err
	}
	return dropUp(tx, g.gone)
}

// encode fills text and ends.
func (g *group) encode() {
	g.text, g.ends = g.text[:0], g.ends[:0]
	for i := range g.entries {
		e := &g.entries[i]
		if e.void {
			continue
		}
		for j := range e.n {
			switch {
			case e.up && j == 0:
				g.text = append(g.text, '[')
			case e.up:
				g.text = append(g.text, ',')
			}
			g.text = appendJSON(g.text, &g.cdrs[e.first+j])
			if !e.up {
				g.ends = append(g.ends, len(g.text))
			}
		}
		if e.up {
			g.text = append(g.text, ']')
			g.ends = append(g.ends, len(g.text))
		}
	}
}
