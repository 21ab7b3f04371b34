package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/roam"
)

type demo struct {
	Quiet bool `help:"No SIP ladder, only what happens."`
}

// The tones the phones of the demo play, in Hz, and how long each must be heard.
const (
	aliceTone = 440
	otherTone = 660
	talkFor   = 2500 * time.Millisecond
	hearFor   = 1500 * time.Millisecond
)

// Run is kong's. It runs three offices of its own on free ports, so that it disturbs nobody.
func (c *demo) Run(e *env) error {
	dir, err := os.MkdirTemp("", "siproam-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	base, err := freeBase()
	if err != nil {
		return err
	}
	l := newLab(dir, loopback, base)
	if l.log, err = newLog(e.stderr, office.Log{Level: "error", Format: "auto"}); err != nil {
		return err
	}
	if err := l.makeAccounts(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(e.ctx)
	defer stop(nil)
	var story sync.WaitGroup
	err = l.run(ctx, func(h *office.House) {
		story.Go(func() {
			s := &stage{lab: l, house: h, out: &locked{w: e.stdout}, ladder: !c.Quiet}
			stop(s.play(ctx))
		})
	})
	story.Wait()
	if err != nil {
		return err
	}
	if e.ctx.Err() != nil {
		return fmt.Errorf("demo: interrupted")
	}
	if why := context.Cause(ctx); !errors.Is(why, context.Canceled) {
		return fmt.Errorf("demo: %w", why)
	}
	fmt.Fprintln(e.stdout, "\nEvery tone was heard. One number, three offices.")
	return nil
}

// locked lets the ladder and the story write whole lines. mu guards w.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// stage is what the story is played on.
type stage struct {
	lab    *lab
	house  *office.House
	out    io.Writer
	ladder bool
	phones sync.WaitGroup
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, "\n"+format+"\n", args...) }

// play is the story: alice of north in south, then in west, then home; calls from north and west each time.
func (s *stage) play(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer s.phones.Wait()
	defer stop()
	if s.ladder {
		s.watch(ctx)
	}
	s.say("Three offices: north, south, west. Bob sits in north, dave in west.")
	bob, err := s.phone(ctx, "1002", 0, 0, otherTone)
	if err != nil {
		return err
	}
	dave, err := s.phone(ctx, "3001", 2, 2, otherTone)
	if err != nil {
		return err
	}
	s.say("Alice (1001) is at home in north. She plugs her phone in at south.")
	alice, err := s.phone(ctx, "1001", 0, 1, aliceTone)
	if err != nil {
		return err
	}
	for i, at := range []int{1, 2, 0} {
		if i > 0 {
			s.say("Alice takes her phone to %s.", labOffices[at])
			if err := alice.Move(ctx, s.lab.proxy(at)); err != nil {
				return fmt.Errorf("alice moves to %s: %w", labOffices[at], err)
			}
		}
		if err := s.located(ctx, labOffices[at]); err != nil {
			return err
		}
		for _, from := range []struct {
			who   string
			phone *phone.Phone
		}{{"Bob in north", bob}, {"Dave in west", dave}} {
			if err := s.talk(ctx, from.who, from.phone, alice); err != nil {
				return fmt.Errorf("%s calls 1001 at %s: %w", from.who, labOffices[at], err)
			}
		}
	}
	s.say("The charging records of 1001, all at home in north:")
	return s.records(ctx, 6)
}

// watch draws the ladder until ctx ends.
func (s *stage) watch(ctx context.Context) {
	l := newLadder(s.out, labOffices[:])
	s.phones.Go(func() {
		s.house.Trace(ctx, []string{"1001", "+15550001001", "1001@north.example"}, "", l.draw)
	})
}

// phone starts a phone and waits until it is registered.
func (s *stage) phone(ctx context.Context, n string, home, at int, tone float64) (*phone.Phone, error) {
	p, err := s.lab.phone(n, home, at, phone.Config{Tone: tone, Answer: phone.Talk})
	if err != nil {
		return nil, err
	}
	s.phones.Go(func() { p.Run(ctx) })
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := p.Registered(wait); err != nil {
		return nil, fmt.Errorf("register %s at %s: %w", n, labOffices[at], err)
	}
	return p, nil
}

// located waits until the routing store says that alice is at office, and shows it.
func (s *stage) located(ctx context.Context, at string) error {
	began := time.Now()
	for {
		w, err := s.house.Where(ctx, "1001", "")
		if err == nil && string(w.At) == at {
			fmt.Fprintln(s.out)
			writeWhere(s.out, &w, time.Now())
			return nil
		}
		if time.Since(began) > 3*time.Second {
			return fmt.Errorf("1001 should be at %s after 3 s, but is at %q (%v)", at, w.At, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// talk has from call alice; both must hear the other's tone.
func (s *stage) talk(ctx context.Context, who string, from, alice *phone.Phone) error {
	s.say("%s dials 1001.", who)
	answered, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	call, err := from.Call(answered, "sip:1001@north.example")
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-call.Done():
		return errors.New("the call ended by itself")
	case <-time.After(talkFor):
	}
	heard := call.Heard(aliceTone)
	var back time.Duration
	if there := alice.Current(); there != nil {
		back = there.Heard(otherTone)
	}
	if err := call.Hangup(answered); err != nil {
		return fmt.Errorf("hang up: %w", err)
	}
	if heard < hearFor || back < hearFor {
		return fmt.Errorf("the caller heard alice for %v and alice the caller for %v, want %v", heard, back, hearFor)
	}
	s.say("%s heard alice for %.1f s, alice heard the caller for %.1f s.", who, heard.Seconds(), back.Seconds())
	return nil
}

// records waits until north's ledger has want records about alice, and prints them.
func (s *stage) records(ctx context.Context, want int) error {
	began := time.Now()
	for {
		list, err := s.house.Records(ctx, "1001@north.example", "north", "", 100)
		if err != nil {
			return err
		}
		list = complete(list)
		if len(list) >= want {
			for _, c := range list {
				fmt.Fprintf(s.out, "  %s  %-17s > %-17s  served by %-5s  %.1f s  %d\n", c.Start.Local().Format(time.TimeOnly), c.From, c.To, c.Office, c.End.Sub(c.Answered).Seconds(), c.Status)
			}
			return nil
		}
		if time.Since(began) > 5*time.Second {
			return fmt.Errorf("north has %d records about 1001, want %d", len(list), want)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// complete is the records of calls that have ended.
func complete(list []roam.CDR) (all []roam.CDR) {
	for _, c := range list {
		if !c.End.IsZero() && !c.Answered.IsZero() {
			all = append(all, c)
		}
	}
	return all
}
