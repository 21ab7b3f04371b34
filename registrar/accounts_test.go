package registrar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/siproam/siproam/roam"
)

// TestAdd: all or none, and every name is one user's.
func TestAdd(t *testing.T) {
	ok := User{ID: "1003@north.example", Short: "1003", Number: "+15550001003"}
	with := func(change func(*Account)) []Account {
		a := Account{User: ok, Password: "p"}
		change(&a)
		return []Account{{User: User{ID: "1004@north.example"}, Password: "p"}, a}
	}
	for name, c := range map[string]struct {
		as   []Account
		want error
	}{
		"good":                 {with(func(*Account) {}), nil},
		"good with HA1":        {with(func(a *Account) { a.Password, a.HA1 = "", map[string][]string{"1003": {strings.Repeat("0", 32)}} }), nil},
		"taken":                {with(func(a *Account) { a.ID = "1001@north.example" }), ErrTaken},
		"extension taken":      {with(func(a *Account) { a.Short = "1001" }), ErrTaken},
		"number taken":         {with(func(a *Account) { a.Number = "+15550001001" }), ErrTaken},
		"alias taken":          {with(func(a *Account) { a.Aliases = []string{"alice@north.example"} }), ErrTaken},
		"twice":                {with(func(a *Account) { a.ID, a.Short, a.Number = "1004@north.example", "", "" }), ErrTaken},
		"taken by a neighbour": {with(func(a *Account) { a.Aliases = []string{"1004@north.example"} }), ErrTaken},
		"another domain":       {with(func(a *Account) { a.ID = "1003@south.example" }), ErrName},
		"not canonical":        {with(func(a *Account) { a.ID = "1003@NORTH.example" }), ErrName},
		"no name":              {with(func(a *Account) { a.ID = "@north.example" }), ErrName},
		"number without plus":  {with(func(a *Account) { a.Number = "15550001003" }), ErrName},
		"no password":          {with(func(a *Account) { a.Password = "" }), ErrPassword},
		"HA1 too short":        {with(func(a *Account) { a.Password, a.HA1 = "", map[string][]string{"1003": {"00"}} }), ErrPassword},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				reg := w.offices["north"].reg
				err := reg.Add(context.Background(), c.as)
				if !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				users, err := reg.Users(context.Background(), "", 10)
				if want := map[bool]int{true: 4, false: 2}[c.want == nil]; err != nil || len(users) != want {
					t.Errorf("got %d users, %v, want %d", len(users), err, want)
				}
			})
		})
	}
}

// TestChange changes one account and registers with it.
func TestChange(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, reg := context.Background(), w.offices["north"].reg
		yes, no, fresh, name := true, false, "fresh", "Alice Ames"
		change := func(c Change, want error) {
			t.Helper()
			if err := reg.Change(ctx, alice, c); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		p := w.phone()
		p.want(200)
		change(Change{Password: &fresh}, nil)
		p.want(401)
		p.password = fresh
		p.want(200)
		change(Change{AddAlias: []string{"ames@north.example"}}, ErrPassword)
		change(Change{AddAlias: []string{"bob@north.example"}, Password: &fresh}, ErrTaken)
		change(Change{AddAlias: []string{"ames@north.example"}, Password: &fresh, Name: &name}, nil)
		p.to, p.login = "sip:ames@north.example", "ames"
		p.want(200)
		change(Change{DelAlias: []string{"ames@north.example"}}, nil)
		p.want(401)
		p.to, p.login = "sip:1001@north.example", "1001"
		p.want(200)
		change(Change{Disabled: &yes}, nil)
		w.agree("")
		p.want(403)
		change(Change{Disabled: &no}, nil)
		p.want(200)
		if err := reg.Change(ctx, "1999@north.example", Change{}); !errors.Is(err, roam.NoSuchUser) {
			t.Errorf("got %v, want %v", err, roam.NoSuchUser)
		}
		st, err := reg.Where(ctx, "alice@north.example")
		if err != nil || st.User.Name != name || len(st.Devices) != 1 || st.Location.Office != "north" {
			t.Errorf("got %+v, %v", st, err)
		}
		w.offices["north"].restart()
		p.nonce = ""
		p.want(200)
	})
}

// TestRemove takes an account away while its phone is in another office.
func TestRemove(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, reg := context.Background(), w.offices["north"].reg
		p := w.phone().carry("south")
		p.want(200)
		w.agree("south")
		if err := reg.Remove(ctx, alice); err != nil {
			t.Fatal(err)
		}
		settle(1e9)
		w.on("south", func(s *Server) {
			if s.here(alice) {
				t.Error("south still has alice")
			}
		})
		w.r.mu.Lock()
		if at := w.r.at[alice]; at.Office != "" {
			t.Errorf("R: alice is at %v", at)
		}
		for name, id := range w.r.ids {
			if id.User == alice {
				t.Errorf("R still knows %s", name)
			}
		}
		w.r.mu.Unlock()
		p.want(401) // home knows nobody of that name, and does not say so
		if _, err := reg.Where(ctx, "1001"); !errors.Is(err, roam.NoSuchUser) {
			t.Errorf("got %v, want %v", err, roam.NoSuchUser)
		}
		w.offices["north"].restart()
		w.add("north", "1001", "alice")
		w.offices["north"].restart()
		w.on("north", func(s *Server) {
			if u := s.users[alice]; u == nil || len(u.home.At) > 0 {
				t.Errorf("the old registration is back: %v", u)
			}
		})
	})
}

// TestList pages through everybody.
func TestList(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, north := context.Background(), w.offices["north"].reg
		for i := range 25 {
			w.add("north", fmt.Sprint(1100+i), fmt.Sprint("u", i))
		}
		synctest.Wait()
		var all []roam.UserID
		for after := roam.UserID(""); ; after = all[len(all)-1] {
			page, err := north.Users(ctx, after, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, u := range page {
				all = append(all, u.ID)
			}
		}
		if len(all) != 27 || !slices.IsSorted(all) || len(slices.Compact(all)) != 27 {
			t.Errorf("got %d users: %v", len(all), all)
		}
		w.phone().carry("south").want(200)
		w.agree("south")
		bob := w.phone()
		bob.to, bob.login, bob.password, bob.callID = "sip:1002@north.example", "1002", "secret-1002", "b"
		bob.want(200)
		if list, err := north.List(ctx, "", 10); err != nil || len(list) != 2 || list[1].User.Name != "bob" {
			t.Errorf("got %+v, %v, want alice and bob", list, err)
		}
		if list, err := north.List(ctx, alice, 10); err != nil || len(list) != 1 {
			t.Errorf("got %+v, %v, want bob", list, err)
		}
		bob.expires = 0
		bob.want(200)
		for _, o := range []roam.OfficeID{"north", "south"} {
			list, err := w.offices[o].reg.List(ctx, "", 10)
			if err != nil || len(list) != 1 || list[0].User.ID != alice || list[0].Visitor != (o == "south") || list[0].Location.Office != "south" || len(list[0].Devices) != 1 {
				t.Errorf("%s: got %+v, %v", o, list, err)
			}
		}
	})
}
