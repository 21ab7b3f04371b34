package dhcp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/store"
)

// stored is a lease as one is stored.
func stored(n int) lease.Lease {
	at := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	return lease.Lease{
		Addr: netip.AddrFrom4([4]byte{10, 2, 0, byte(100 + n)}), Subnet: netip.MustParsePrefix("10.2.0.0/24"), Client: "\x01\x00\x15\x65\x01\x02" + string(rune(n)),
		MAC: fmt.Sprintf("00:15:65:01:02:%02x", n), Port: "sw1/3", Host: "lobby", Vendor: "yealink", State: lease.Bound, Known: true, Plugged: at, Since: at.Add(time.Second), Until: at.Add(8 * time.Hour),
	}
}

// same says that two leases are the same but for what is not stored.
func same(a, b lease.Lease) bool {
	if !a.Plugged.Equal(b.Plugged) || !a.Since.Equal(b.Since) || !a.Until.Equal(b.Until) {
		return false
	}
	b.Plugged, b.Since, b.Until, b.Time, b.Anew, b.Doubt = a.Plugged, a.Since, a.Until, a.Time, a.Anew, a.Doubt
	return a == b
}

// TestRow: version 1, octet for octet.
func TestRow(t *testing.T) {
	l := stored(1)
	row := appendRow([]byte("before"), &l)[6:]
	const want = "01" + "4483289d" + "02" + "01" + "808083eba6c5b006" + "8089fdeba6c5b006" + "8080ecb4fdc6b006" + "050a02000018" + "07010015650102" + "01" +
		"1130303a31353a36353a30313a30323a3031" + "057377312f33" + "056c6f626279" + "077965616c696e6b"
	if got := hex.EncodeToString(row); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := readRow(l.Addr.AsSlice(), row); err != nil || !same(got, l) {
		t.Errorf("got %+v, %v, want %+v", got, err, l)
	}
	empty := lease.Lease{Addr: netip.MustParseAddr("2001:db8::1"), Subnet: netip.MustParsePrefix("2001:db8::/64"), State: lease.Free}
	if got, err := readRow(empty.Addr.AsSlice(), appendRow(nil, &empty)); err != nil || !same(got, empty) {
		t.Errorf("got %+v, %v, want %+v", got, err, empty)
	}
}

// TestRowDamaged: no bit of a row may change, and none be cut off.
func TestRowDamaged(t *testing.T) {
	l := stored(1)
	row, addr := appendRow(nil, &l), l.Addr.AsSlice()
	for bit := range len(row) * 8 {
		bad := slices.Clone(row)
		bad[bit/8] ^= 1 << (bit % 8)
		if got, err := readRow(addr, bad); err == nil {
			t.Errorf("bit %d: got %+v", bit, got)
		}
	}
	for n := range row {
		if _, err := readRow(addr, row[:n]); err == nil {
			t.Errorf("%d octets are taken for a row", n)
		}
	}
	other := stored(2)
	if _, err := readRow(other.Addr.AsSlice(), row); !errors.Is(err, errRow) {
		t.Errorf("the row of another address: got %v", err)
	}
}

func FuzzRow(f *testing.F) {
	l := stored(1)
	f.Add(l.Addr.AsSlice(), appendRow(nil, &l))
	f.Fuzz(func(t *testing.T, addr, row []byte) {
		one, err := readRow(addr, row)
		if err != nil {
			return
		}
		if again, err := readRow(addr, appendRow(nil, &one)); err != nil || !same(again, one) {
			t.Errorf("got %+v, %v, want %+v", again, err, one)
		}
	})
}

// TestThousandDamages: whatever is damaged, the server starts, keeps all else, gives nobody's address away, and has what it
// cannot know probed first.
func TestThousandDamages(t *testing.T) {
	const leases, damages = 40, 1000
	file, err := store.Open(":memory:", Schema)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { file.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended; file.Close() }()
	write := func(change func(store.Tx) error) {
		done := make(chan error)
		if err := file.Write(store.Write{Change: change, Done: func(err error) { done <- err }}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	all := make([]entry, leases)
	for i := range all {
		l := stored(i)
		l.Since, l.Until = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		all[i] = entry{lease: l}
	}
	cfg := office()
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range damages {
		hit := rnd.IntN(leases)
		addr, row := all[hit].lease.Addr.AsSlice(), appendRow(nil, &all[hit].lease)
		kind := n % 6
		write(func(tx store.Tx) error {
			if _, err := tx.Exec(`DELETE FROM dhcp_lease`); err != nil {
				return err
			}
			if err := insert(tx, all); err != nil {
				return err
			}
			q, args := `UPDATE dhcp_lease SET doc = ? WHERE addr = ?`, []any{row, addr}
			switch kind {
			case 0: // a bit
				row[rnd.IntN(len(row))] ^= 1 << rnd.IntN(8)
			case 1: // torn
				args[0] = row[:rnd.IntN(len(row))]
			case 2: // overwritten
				for i := range row {
					row[i] = byte(rnd.Uint32())
				}
			case 3: // another type
				args[0] = []any{int64(7), 7.5, "text"}[rnd.IntN(3)]
			case 4: // the row of another
				args[0] = appendRow(nil, &all[(hit+1)%leases].lease)
			case 5: // its address
				q, args = `UPDATE dhcp_lease SET addr = ? WHERE addr = ?`, []any{[]any{[]byte("xyz"), "text", int64(1), []byte{}}[rnd.IntN(4)], addr}
			}
			_, err := tx.Exec(q, args...)
			return err
		})
		table, err := lease.New(cfg.leases())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openBook(file, nil, table, zerolog.Nop()); err != nil {
			t.Fatalf("damage %d: %v", n, err)
		}
		for i, e := range all {
			got, _ := table.At(e.lease.Addr)
			if i != hit && (got.Client != e.lease.Client || got.State != lease.Bound) {
				t.Fatalf("damage %d of %v: lost %v", n, all[hit].lease.Addr, e.lease.Addr)
			}
		}
		for client := range 101 - leases + 1 {
			l, err := table.Offer(time.Now(), lease.Ask{Client: fmt.Sprint("new", client), Link: at("10.2.0.1"), Known: true})
			if err != nil {
				break
			}
			if i := int(l.Addr.As4()[3]) - 100; i < leases && i != hit {
				t.Fatalf("damage %d: %v is offered, which is another's", n, l.Addr)
			} else if !l.Doubt {
				t.Fatalf("damage %d: %v is offered and not to be probed", n, l.Addr)
			}
		}
	}
}
