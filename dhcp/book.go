package dhcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/store"
)

// Schema is the tables of this package in the office's file.
var Schema = store.Schema{Role: "dhcp", Steps: []string{
	`CREATE TABLE dhcp_lease (addr TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID`,
}}

// row is a lease as it is stored, version 1.
type row struct {
	Version int       `json:"v"`
	Client  []byte    `json:"client,omitempty"`
	Subnet  string    `json:"subnet"`
	MAC     string    `json:"mac,omitempty"`
	Port    string    `json:"port,omitempty"`
	Host    string    `json:"host,omitempty"`
	Vendor  string    `json:"vendor,omitempty"`
	State   uint8     `json:"state"`
	Known   bool      `json:"known,omitempty"`
	Plugged time.Time `json:"plugged,omitzero"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
}

// book keeps the leases in the office's file. What comes in while a commit is under way goes into the next one together.
type book struct {
	file   *store.File
	loop   *loop.Loop
	next   []entry // to be stored
	spare  []entry
	saving bool
}

// entry is a lease to be stored, and who wants to know.
type entry struct {
	lease lease.Lease
	done  func(error)
}

// mostKept is how many leases wait to be stored; then no more are taken.
const mostKept = 8192

// openBook reads what is there into t. It waits.
func openBook(f *store.File, l *loop.Loop, t *lease.Table, log zerolog.Logger) (*book, error) {
	rows, err := f.Query(context.Background(), `SELECT addr, doc FROM dhcp_lease`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []lease.Lease
	damaged := false
	for rows.Next() {
		var addr, doc string
		if err := rows.Scan(&addr, &doc); err != nil {
			return nil, err
		}
		one, err := read(addr, doc)
		if err != nil {
			damaged = true
			log.Warn().Str("event", "dhcp.damaged").Str("ip", addr).Err(err).Msg("lease not read")
			continue
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, err := range t.Restore(time.Now(), all, damaged) {
		log.Warn().Str("event", "dhcp.damaged").Err(err).Msg("lease not taken")
	}
	return &book{file: f, loop: l}, nil
}

func read(addr, doc string) (l lease.Lease, err error) {
	var r row
	if err := json.Unmarshal([]byte(doc), &r); err != nil {
		return l, err
	}
	if r.Version != 1 {
		return l, fmt.Errorf("version %d is not known here", r.Version)
	}
	l = lease.Lease{Client: string(r.Client), MAC: r.MAC, Port: r.Port, Host: r.Host, Vendor: r.Vendor, State: lease.State(r.State), Known: r.Known,
		Plugged: r.Plugged, Since: r.Since, Until: r.Until}
	if l.Addr, err = netip.ParseAddr(addr); err != nil {
		return l, err
	}
	l.Subnet, err = netip.ParsePrefix(r.Subnet)
	return l, err
}

func write(l *lease.Lease) string {
	doc, err := json.Marshal(row{Version: 1, Client: []byte(l.Client), Subnet: l.Subnet.String(), MAC: l.MAC, Port: l.Port, Host: l.Host, Vendor: l.Vendor,
		State: uint8(l.State), Known: l.Known, Plugged: l.Plugged, Since: l.Since, Until: l.Until})
	if err != nil {
		panic("dhcp: " + err.Error()) // times of years that have five digits
	}
	return string(doc)
}

// full says that too much waits to be stored.
func (b *book) full() bool { return len(b.next) >= mostKept }

// keep stores l with all others of this turn, and of those that come in while the disk is busy; done is called on the loop when
// it has survived a loss of power, or with the error.
func (b *book) keep(l lease.Lease, done func(error)) { b.next = append(b.next, entry{l, done}) }

// turn ends a turn of the loop.
func (b *book) turn() {
	if b.saving || len(b.next) == 0 {
		return
	}
	all := b.next
	b.next, b.saving = b.spare[:0], true
	end := func(err error) {
		b.loop.Deliver(func() {
			for i := range all {
				all[i].done(err)
			}
			clear(all)
			b.spare, b.saving = all, false
		})
	}
	if err := b.file.Write(store.Write{Power: true, Done: end, Change: func(tx store.Tx) error {
		for i := range all {
			if _, err := tx.Exec(`INSERT INTO dhcp_lease (addr, doc) VALUES (?, ?) ON CONFLICT (addr) DO UPDATE SET doc = excluded.doc`,
				all[i].lease.Addr.String(), write(&all[i].lease)); err != nil {
				return err
			}
		}
		return nil
	}}); err != nil {
		for i := range all {
			all[i].done(err)
		}
		b.spare, b.saving = all, false
	}
}
