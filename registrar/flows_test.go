package registrar

import (
	"fmt"
	"slices"
	"testing"

	"github.com/siproam/siproam/roam"
)

// TestTenants: one user of a flow or very many, the answers are the same.
func TestTenants(t *testing.T) {
	for _, n := range []int{1, mostFew, mostFew + 1, 1000} {
		var f tenants
		var want []roam.UserID
		for i := range n {
			u := roam.UserID(fmt.Sprintf("%04d@north.example", i))
			want = append(want, u)
			f.add(u)
			f.add(u)
		}
		got := f.all()
		if slices.Sort(got); !slices.Equal(got, want) || f.len() != n {
			t.Fatalf("%d: got %d users of %d", n, len(got), f.len())
		}
		for i, u := range want {
			if !f.has(u) || f.len() != n-i || !f.has(f.any()) {
				t.Fatalf("%d: got %v and %d for user %d", n, f.has(u), f.len(), i)
			}
			f.remove(u)
			f.remove(u)
			if f.has(u) {
				t.Fatalf("%d: user %d is still there", n, i)
			}
		}
		if f.len() != 0 {
			t.Errorf("%d: got %d left", n, f.len())
		}
	}
}

// TestOnBound: a flow is told of with its first user, and with its last.
func TestOnBound(t *testing.T) {
	var told []string
	s := &Server{flows: map[roam.Flow]tenants{}, ended: map[roam.Flow]bool{}}
	s.OnBound(func(f roam.Flow, carries bool) { told = append(told, fmt.Sprint(f.Conn, carries)) })
	one, two := roam.Flow{Conn: 1}, roam.Flow{Conn: 2}
	alice := s.index("alice", nil, []roam.Flow{one, {}})
	bob := s.index("bob", nil, []roam.Flow{one})
	alice = s.index("alice", alice, []roam.Flow{one, two})
	alice = s.index("alice", alice, []roam.Flow{two})
	s.index("bob", bob, nil)
	s.index("alice", alice, nil)
	if want := []string{"1 true", "2 true", "1 false", "2 false"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// BenchmarkIndex is what one more user of a flow costs that has 10,000.
func BenchmarkIndex(b *testing.B) {
	s := &Server{flows: map[roam.Flow]tenants{}, ended: map[roam.Flow]bool{}, onBound: func(roam.Flow, bool) {}}
	proxy := []roam.Flow{{Conn: 1}}
	for i := range 10_000 {
		s.index(roam.UserID(fmt.Sprintf("%05d@north.example", i)), nil, proxy)
	}
	b.ReportAllocs()
	for b.Loop() {
		had := s.index("alice@north.example", nil, proxy)
		s.index("alice@north.example", had, nil)
	}
}
