//go:build endpoints

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
)

// breach is an invariant that broke.
type breach struct {
	invariant string // "I1"; "set-up" when the cell did not come to its step
	err       error
}

func (b breach) String() string { return b.invariant + ": " + b.err.Error() }

// cell is one run of a cell of the table.
type cell struct {
	tag
	dice *rand.Rand
	w    *world

	device   *handset
	desks    map[string]*handset // one in each office
	standing []*standing
	ghost    *ghost

	settled  time.Duration // from plugging in until all agreed; what the printed table shows
	plugged  time.Time
	ended    time.Time // of the fault
	answered int       // calls of the mover that both ends had, each of which is one record
	doubtful int       // calls that were up while something failed: at most one record each
	tried    string    // what became of the call while it lasted

	mu     sync.Mutex // guards the fields below
	broken []breach
	seen   []office.Seen
	armed  bool
	pings  map[string]bool // offices whose trace is being read
	story  []string
	struck chan struct{} // closed when the fault has come
	healed chan struct{} // closed when it has gone
	epochs []string      // what Redis said of the mover's location, changes only
}

// standing is a call that is up while all this happens.
type standing struct {
	name    string
	call    *phone.Call
	offices [2]string
	hz      float64
	ends    []*handset
}

// The limits of the table.
const (
	back      = 60 * time.Second // to be as if nothing had been, after a fault
	remembers = 10 * time.Second // a process that is started again, all of what it said 200 to
	recovers  = 5 * time.Second  // to calls, when what had failed is back
	ringIn    = 8 * time.Second  // a call, an office having been asked in vain
	forgets   = 40 * time.Second // phones that went while something failed: their registrations are for 30 s
)

// breaks notes that an invariant broke, when err says so.
func (c *cell) breaks(invariant string, err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = append(c.broken, breach{invariant, err})
}

// tell notes what happened, for whoever reads about a broken cell.
func (c *cell) tell(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.story = append(c.story, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// play is the whole cell, in a world of its own on s.
func (c *cell) play(plan *blueprint, s site, binary string) {
	c.struck, c.healed, c.pings, c.desks = make(chan struct{}), make(chan struct{}), map[string]bool{}, map[string]*handset{}
	var err error
	if c.w, err = plan.open(s, binary); err != nil {
		c.breaks("set-up", err)
		return
	}
	defer c.write()
	defer c.w.close()
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	for o := range labOrder {
		watching.Go(func() { c.watch(ctx, o) })
	}
	watching.Go(func() { c.follow(ctx) })
	defer c.leave()
	if err := c.prepare(); err != nil {
		c.breaks("set-up", err)
		return
	}
	if err := c.act(); err != nil {
		c.breaks("set-up", err)
		return
	}
	c.check()
}

// prepare has everybody registered, calls standing, and the mover called once where he is.
func (c *cell) prepare() (err error) {
	for i, o := range []string{"north", "south", "west"} {
		if c.desks[o], err = c.w.handset(fmt.Sprintf("%d002", i+1), fmt.Sprintf("demo-%d002", i+1), o, false); err != nil {
			return err
		}
	}
	var ends []*handset
	for _, user := range []string{"1003", "3003", "1004", "2003", "2004", "3004"} {
		h, err := c.w.handset(user, "demo-"+user, strings.TrimSuffix(domainOf(user), ".example"), false)
		if err != nil {
			return err
		}
		ends = append(ends, h)
	}
	if c.device, err = c.w.handset(mover, "demo-"+mover, c.flow.from, true); err != nil {
		return err
	}
	if err := c.w.plug(c.flow.from, true); err != nil {
		return err
	}
	for i := 0; i < len(ends); i += 2 {
		c.standing = append(c.standing, &standing{ends: ends[i : i+2], hz: toneOf(ends[i+1].user),
			offices: [2]string{strings.TrimSuffix(domainOf(ends[i].user), ".example"), strings.TrimSuffix(domainOf(ends[i+1].user), ".example")}})
	}
	for _, h := range c.phones() {
		if err := h.registered(40 * time.Second); err != nil {
			return err
		}
	}
	if err := until(5*time.Second, "all agree beforehand", func() error { return c.agree(c.flow.from) }); err != nil {
		return err
	}
	for _, s := range c.standing {
		s.name = s.ends[0].user + " to " + s.ends[1].user
		if s.call, err = s.ends[0].calls(s.ends[1].user, ringIn); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := hears(s.call, s.hz); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return until(5*time.Second, "the traces", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.pings) < len(labOrder) {
			return errors.New("not read yet")
		}
		return nil
	})
}

// act moves the mover, with the fault at its step.
func (c *cell) act() error {
	third := c.desks[c.flow.third()]
	first, err := third.calls(mover, ringIn)
	if err != nil {
		return fmt.Errorf("the call before: %w", err)
	}
	c.answered++
	late := c.step.letter == "k" && c.flow.to == home // the call in which he leaves is the one whose record travels
	if !late {
		hangup(first)
	}
	inMove := c.step.letter < "j"
	if inMove && c.step.mark != nil {
		c.arm()
	}
	c.plugged = time.Now()
	if err := c.device.move(c.flow.to, func() {
		c.tell("left %s for %s", c.flow.from, c.flow.to)
		if c.ghost, err = c.w.ghost(c.flow.from); err != nil {
			c.breaks("set-up", err)
		}
		if c.step.mark == nil {
			c.strike()
		}
	}); err != nil {
		return err
	}
	if inMove {
		return c.wait(30 * time.Second)
	}
	if err := errors.Join(c.device.registered(10*time.Second), until(5*time.Second, "all agree", func() error { return c.agree(c.flow.to) })); err != nil {
		return err
	}
	c.settled = time.Since(c.plugged)
	switch {
	case c.step.letter == "j":
		c.arm()
		call, err := third.calls(mover, ringIn)
		c.tell("the call at step j: %v", err)
		c.doubtful++
		if err == nil {
			hangup(call)
		}
	case late:
		c.arm()
		hangup(first)
	default:
		call, err := third.calls(mover, ringIn)
		if err != nil {
			return fmt.Errorf("the call whose record travels: %w", err)
		}
		c.answered++
		c.arm()
		hangup(call)
	}
	return c.wait(10 * time.Second)
}

// wait waits for the fault to have come, looks at what is true while it lasts, and waits until it has gone.
func (c *cell) wait(limit time.Duration) error {
	select {
	case <-c.struck:
	case <-time.After(limit):
		return fmt.Errorf("step %s was not reached within %v", c.step.letter, limit)
	}
	c.meanwhile()
	select {
	case <-c.healed:
		c.ended = time.Now()
	case <-time.After(30 * time.Second):
		return errors.New("the fault does not end")
	}
	return nil
}

// meanwhile is what must hold while something fails: nobody gets in with a wrong password (I8), and a call to the mover
// reaches him, or is told that he or the way to him is not there now; never that there is no such user, or that he declined (I4).
func (c *cell) meanwhile() {
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() {
		stranger, err := c.w.handset(mover, "wrong", c.flow.to, false)
		if err != nil {
			c.breaks("set-up", err)
			return
		}
		defer stranger.end()
		ctx, stop := context.WithTimeout(context.Background(), 3*time.Second)
		defer stop()
		if err := stranger.Registered(ctx); err == nil {
			c.breaks("I8", errors.New("a wrong password was taken"))
		} else {
			c.tell("a stranger: %v", err)
		}
	})
	asking.Go(func() {
		call, err := c.desks[c.flow.third()].calls(mover, 5*time.Second)
		c.tell("a call meanwhile: %v", err)
		c.doubtful++
		var no *phone.Refused
		switch {
		case err == nil:
			c.tried = "answered"
			hangup(call)
		case errors.Is(err, context.DeadlineExceeded):
			c.tried = "not answered within 5 s"
		case errors.As(err, &no) && (no.Code == 480 || no.Code == 503):
			c.tried = "told " + no.Error()
		default:
			c.breaks("I4", fmt.Errorf("a call meanwhile: %w", err))
		}
	})
}

// arm lets the next message of the step's mark bring the fault.
func (c *cell) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = true
}

// strike brings the fault, and takes it away after its time.
func (c *cell) strike() {
	err := c.fault.strike(c)
	c.tell("%s: %s", c.step.what, c.fault.name)
	close(c.struck)
	if err != nil {
		c.breaks("set-up", fmt.Errorf("%s: %w", c.fault.name, err))
	}
	go func() {
		time.Sleep(c.fault.lasts)
		if err := c.fault.heal(c); err != nil {
			c.breaks("set-up", fmt.Errorf("healing %s: %w", c.fault.name, err))
		}
		c.tell("healed")
		close(c.healed)
	}()
}

// watch reads an office's trace, again when the office was started again, and strikes at the step's mark.
func (c *cell) watch(ctx context.Context, o string) {
	for ctx.Err() == nil {
		client, err := office.Dial(c.w.state(o))
		if err == nil {
			_ = client.Trace(ctx, url.Values{}, func(s office.Seen) error { c.see(s); return nil }) // until it is killed
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// see keeps a message, and strikes when it is the one: at once, or up to 5 ms later as the dice say, so that over the
// runs it comes before and after what the office does about the message.
func (c *cell) see(s office.Seen) {
	c.mu.Lock()
	c.pings[s.Office] = true
	c.seen = append(c.seen, s)
	now := c.armed && c.step.mark != nil && c.step.mark(c.flow).fits(s)
	var later time.Duration
	if now {
		c.armed = false
		later = time.Duration(c.dice.IntN(6)) * time.Millisecond
	}
	c.mu.Unlock()
	if now {
		time.Sleep(later)
		c.strike()
	}
}

func (m mark) fits(s office.Seen) bool {
	return s.Office == m.at && s.Sent == m.sent && (s.Partner != "") == m.partner && s.Method == m.method && s.Status == m.status &&
		strings.Contains(string(s.Raw), m.has) && (m.method != register || strings.HasPrefix(s.To, mover+"@"))
}

// follow notes what Redis says of the mover, as often as it can.
func (c *cell) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if is, err := c.w.redis("HMGET roam:loc:{1001@north.example} epoch office"); err == nil && is != "\n" {
			c.mu.Lock()
			if len(c.epochs) == 0 || c.epochs[len(c.epochs)-1] != is {
				c.epochs = append(c.epochs, is)
			}
			c.mu.Unlock()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// phones is all that are plugged in.
func (c *cell) phones() (all []*handset) {
	for _, h := range c.desks {
		all = append(all, h)
	}
	for _, s := range c.standing {
		all = append(all, s.ends...)
	}
	if c.device != nil {
		all = append(all, c.device)
	}
	return all
}

// end ends the phone, which takes its registration back.
func (h *handset) end() {
	h.stop()
	<-h.ended
}

// leave ends all phones, and gives the site back as it was.
func (c *cell) leave() {
	var leaving sync.WaitGroup
	for _, h := range c.phones() {
		leaving.Go(h.end)
	}
	leaving.Wait()
	for o := range labOrder {
		_ = c.w.plug(o, false)
	}
	if c.ghost != nil {
		c.ghost.c.Close()
		_ = c.w.exorcise(c.flow.from)
	}
}

// write keeps the story of a cell in the directory SIPROAM_TABLE_LOGS.
func (c *cell) write() {
	dir := os.Getenv("SIPROAM_TABLE_LOGS")
	if dir == "" {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", c)
	for _, x := range c.broken {
		fmt.Fprintln(&b, x)
	}
	fmt.Fprintf(&b, "\n%s\n\n", strings.Join(c.story, "\n"))
	slices.SortFunc(c.seen, func(a, b office.Seen) int { return a.Time.Compare(b.Time) })
	for _, s := range c.seen {
		way := map[bool]string{true: "->", false: "<-"}[s.Sent]
		fmt.Fprintf(&b, "%s %-5s %s %-22s %d %s %s from %s to %s\n", s.Time.Format("15:04:05.000000"), s.Office, way, s.Remote, s.Status, s.Method, s.URI, s.From, s.To)
	}
	for host, p := range c.w.run {
		fmt.Fprintf(&b, "\n%s\n%s\n", host, tail(p.out.String(), 20000))
	}
	_ = os.MkdirAll(dir, 0o755)
	_ = os.WriteFile(filepath.Join(dir, c.String()+".log"), []byte(b.String()), 0o644)
}
