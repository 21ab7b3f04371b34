package billing

import (
	"testing"
	"time"

	"github.com/siproam/siproam/store"
)

// Home starts from a file of before the last records came: who served the calls sends these again. Those that
// were on their way when the store was emptied go again, too. None counts twice.
func TestSentAgain(t *testing.T) {
	addr := embedded(t)
	south, north := open(t, "south", ":memory:", addr, nil), open(t, "north", ":memory:", addr, nil)
	south.write(call("old"))
	south.eventually("acknowledged", func() bool { return south.states()[kept] == 1 })
	south.change(t.Context(), false, func(tx store.Tx) error { // an hour ago
		_, err := tx.Exec(`UPDATE cdr SET due = ?`, stamp(time.Now().Add(-time.Hour)))
		return err
	})
	written := time.Now()
	south.write(call("new"))
	south.eventually("acknowledged", func() bool { return south.states()[kept] == 2 })
	north.stop()

	north = open(t, "north", ":memory:", addr, nil)
	south.loop.Do(t.Context(), func() { south.Again("west", time.Time{}); south.Again("north", written) })
	north.eventually("the newer one", func() bool { return len(north.list("")) == 1 && north.list("")[0].ID == "new" })
	south.eventually("acknowledged again", func() bool { return south.states()[kept] == 2 })
	if got := south.count("sent"); got != 3 {
		t.Errorf("sent %d, want 3: the old one was in the file", got)
	}
	south.loop.Do(t.Context(), func() { south.Again("north", time.Time{}) }) // a file that never was written
	north.eventually("all", func() bool { return len(north.list("")) == 2 })
	south.eventually("all acknowledged", func() bool { return south.states()[kept] == 2 })
	if got := north.count("repeated"); got != 1 {
		t.Errorf("%d came for nothing, want 1", got)
	}

	south.change(t.Context(), false, func(tx store.Tx) error { // it is on its way, and nobody will try again soon
		_, err := tx.Exec(`UPDATE cdr SET state = 'sent', due = ?`, stamp(time.Now().Add(time.Hour)))
		return err
	})
	south.Lost()
	south.eventually("sent after the loss", func() bool { return south.states()[kept] == 2 })
	if got := len(north.list("")); got != 2 {
		t.Errorf("north has %d records, want 2", got)
	}
}

// An idle office notes now and then that it has written its file.
func TestWritten(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	if at, err := b.Written(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("a new file: got %v, %v, want never", at, err)
	}
	b.eventually("written", func() bool { at, _ := b.Written(t.Context()); return time.Since(at) < time.Minute })
}
