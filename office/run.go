package office

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/siproam/siproam/roam"
)

// How long things may take: calls get drainFor to end with their records, every stage after it stopFor; at the start
// the routing store gets settleFor to learn our users' names, before phones are served without it.
const (
	drainFor  = 1200 * time.Millisecond
	stopFor   = 600 * time.Millisecond
	settleFor = 1500 * time.Millisecond
)

// health is what the office knows of itself; it is read from anywhere.
type health struct {
	serving  atomic.Bool // listeners bound, file open, loop turning
	reloadOK atomic.Bool
	reloaded atomic.Int64 // Unix seconds
}

// part is one of the office's runners. Those of one stage stop together.
type part struct {
	name  string
	stage int
	stop  context.CancelFunc
	ended chan struct{} // closed when it has returned
}

// runner starts parts in order and stops them in reverse.
type runner struct {
	o     *Office
	parts []*part
	stage int

	once sync.Once
	fail chan struct{} // closed when a part ended with an error
	err  error         // of that part; read after fail is closed
}

// start begins a stage: it runs one part until it is stopped. A part that returns earlier with an error ends the office.
func (r *runner) start(name string, run func(context.Context) error) {
	r.stage++
	r.beside(name, run)
}

// beside runs one more part in the stage begun last.
func (r *runner) beside(name string, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	p := &part{name: name, stage: r.stage, stop: stop, ended: make(chan struct{})}
	r.parts = append(r.parts, p)
	go func() {
		defer close(p.ended)
		if err := run(ctx); err != nil && ctx.Err() == nil {
			r.once.Do(func() { r.err = fmt.Errorf("%s: %w", name, err); close(r.fail) })
		}
	}()
}

// stop ends what was started, last first. A part that does not end in time is left behind and named.
func (r *runner) stop() {
	for ; r.stage > 0; r.stage-- {
		for _, p := range r.parts {
			if p.stage == r.stage {
				p.stop()
			}
		}
		began, late := time.Now(), time.After(stopFor)
		for _, p := range r.parts {
			if p.stage != r.stage {
				continue
			}
			select {
			case <-p.ended:
				r.o.log.Debug().Str("event", "office.part").Str("part", p.name).Dur("dur_ms", time.Since(began)).Msg("part has stopped")
			case <-late:
				r.o.log.Error().Str("event", "office.stuck").Str("part", p.name).Msg("part did not stop in time")
				late = time.After(0)
			}
		}
	}
}

// Run binds the listeners, starts everything and serves until ctx ends; then calls end with their records, the
// office takes its sign of life back, and what was started stops in reverse order. It returns nil when ctx ended it.
func (o *Office) Run(ctx context.Context) error {
	defer o.Close()
	if err := o.transport.Listen(); err != nil {
		return fmt.Errorf("office %s: %w", o.Name(), err)
	}
	if err := errors.Join(o.listenNames(), o.listenSettings(), o.listenDHCP()); err != nil {
		o.closeListeners(ctx)
		return fmt.Errorf("office %s: %w", o.Name(), err)
	}
	r := &runner{o: o, fail: make(chan struct{})}
	defer r.stop()
	r.start("state", o.file.Run)
	r.start("loop", func(ctx context.Context) error { o.loop.Run(ctx); return nil })
	if err := errors.Join(o.plant(ctx), o.syncUsers(ctx), o.settlePhones(ctx)); err != nil {
		o.closeListeners(ctx)
		return fmt.Errorf("office %s: %w", o.Name(), err)
	}
	r.start("routing store", o.routes.Run)
	r.beside("charging records", o.ledger.Run) // waits in a question to the routing store, which ends with its client
	r.beside("memory", o.remember)
	if o.reg != nil { // a softswitch alone has no names to tell
		o.settle(ctx)
	}
	if o.meet != nil {
		o.meet(ctx)
	}
	r.start("transport", func(ctx context.Context) error { return o.transport.Serve(ctx, o.layer) })
	if o.names != nil {
		r.beside("name server", o.names.Run)
	}
	if o.settings != nil {
		r.beside("settings of phones", o.settings.Run)
	}
	if o.dhcp != nil { // last: a phone that has an address finds all that it is told of
		r.start("dhcp", o.serveDHCP)
	}
	o.logMessages(o.Config().Log.SIP)
	defer o.logMessages(nil)
	o.introduce(ctx)

	o.health.serving.Store(true)
	o.health.reloadOK.Store(true)
	o.health.reloaded.Store(time.Now().Unix())
	o.log.Info().Str("event", "office.ready").Strs("listen", o.transport.Addrs()).Dur("dur_ms", time.Since(o.made)).Msg("office is ready")
	close(o.ready)
	var err error
	select {
	case <-ctx.Done():
	case <-r.fail:
		err = fmt.Errorf("office %s: %w", o.Name(), r.err)
	}
	o.health.serving.Store(false)
	o.drain()
	return err
}

// closeListeners gives back the ports of an office that does not start: they are closed by Serve alone, and one that ends at
// once does just that.
func (o *Office) closeListeners(ctx context.Context) {
	over, cancel := context.WithCancel(ctx)
	cancel()
	o.transport.Serve(over, o.layer)
	if o.names != nil {
		o.names.Run(over)
	}
	if o.settings != nil {
		o.settings.Run(over)
	}
	o.closeDHCP()
}

// settle gives the routing store a moment to learn our users' names and our card, so that the first phone that visits
// another office is known there. Without a routing store phones are served all the same.
func (o *Office) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for !o.routes.Published() {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// introduce has a softswitch alone begin to talk to its registrar, and gives it a moment to hear who its phones are, before
// it says that it is ready. Without a registrar it is ready all the same.
func (o *Office) introduce(ctx context.Context) {
	if o.near == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	_, _ = await(ctx, o.loop, func(done func(struct{}, error)) { o.near.Start(func() { done(struct{}{}, nil) }) }) // the deadline is no error
}

// drain refuses new calls and waits until those there are have ended, with their records.
func (o *Office) drain() {
	if o.sw == nil {
		o.log.Info().Str("event", "office.stop").Msg("registrar stops")
		return
	}
	if o.near != nil {
		o.loop.Deliver(o.near.Stop)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	_, err := await(ctx, o.loop, func(done func(struct{}, error)) { o.sw.Drain(func() { done(struct{}{}, nil) }) })
	if errors.Is(err, context.DeadlineExceeded) {
		o.log.Warn().Str("event", "office.drain").Msg("calls left without an answer to BYE")
	}
	o.log.Info().Str("event", "office.stop").Msg("office stops")
}

// await has ask run on the loop and waits for what it gives to done.
func await[T any](ctx context.Context, l interface{ Post(func()) error }, ask func(done func(T, error))) (T, error) {
	type answer struct {
		v   T
		err error
	}
	got := make(chan answer, 1)
	var none T
	if err := l.Post(func() {
		ask(func(v T, err error) { got <- answer{v, err} })
	}); err != nil {
		return none, err
	}
	select {
	case a := <-got:
		return a.v, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// locate asks R where user is; fresh goes past the cache.
func (o *Office) locate(ctx context.Context, user roam.UserID, fresh bool) (roam.Location, error) {
	return await(ctx, o.loop, func(done func(roam.Location, error)) { o.routes.Locate(user, fresh, done) })
}
