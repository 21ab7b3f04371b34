//go:build endpoints

package e2e

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/roam"
)

// check is what must be true when the fault has gone.
func (c *cell) check() {
	healed := time.Now()
	if c.step.letter >= "h" && c.fault.name == "killed" { // the phone had its 200, so this is not its own doing, every 22 s
		c.breaks("I3", until(remembers, "what was told 200 is known", func() error { return c.agree(c.flow.to) }))
	}
	left := func() time.Duration { return back - time.Since(healed) }
	c.breaks("I8", c.device.registered(left()))
	if err := until(left(), "all agree", func() error { return c.agree(c.flow.to) }); err != nil {
		c.breaks("I1", err)
		return
	}
	if c.settled == 0 {
		c.settled = time.Since(c.plugged)
	}
	c.tell("all agree")
	ghosts := c.ghost.called()
	for o, desk := range c.desks {
		c.breaks("I4", c.reached(desk, o == c.flow.third()))
	}
	if call, err := c.soon(c.device, c.desks[c.flow.third()].user); err != nil {
		c.breaks("I4", fmt.Errorf("the mover calls: %w", err))
	} else {
		c.answered++
		hangup(call)
	}
	if n := c.ghost.called() - ghosts; n > 0 {
		c.breaks("I4", fmt.Errorf("%d calls where the phone was", n))
	}
	for _, s := range c.standing {
		if c.fault.name != "killed" || s.offices[0] != c.hit() && s.offices[1] != c.hit() {
			c.breaks("I7", s.lives())
		}
		hangup(s.call)
		if there := s.ends[1].Current(); there != nil { // who hears nothing any more hangs up, too
			hangup(there)
		}
	}
	if there := c.device.Current(); there != nil { // in a call whose other office was killed
		hangup(there)
	}
	c.breaks("I3", until(left(), "records at home", c.recorded))
	c.breaks("I10", until(left(), "nothing is left", c.idle))
	c.leave()
	c.breaks("I10", until(forgets, "nobody is left", c.empty))
	c.breaks("I1", c.grew())
	c.breaks("I8", c.patient())
	c.breaks("I6", c.secret())
}

// agree is nil when every office and Redis say that the mover is at office, and no other office has a phone of his.
func (c *cell) agree(at string) error {
	for o := range labOrder {
		var w office.Whereabouts
		if err := c.w.ask(o, "/where", url.Values{"user": {mover + "@north.example"}}, &w); err != nil {
			return err
		}
		if string(w.At) != at {
			return fmt.Errorf("%s says that he is at %q (%s)", o, w.At, w.Source)
		}
		if o == home && len(w.Phones) != 1 {
			return fmt.Errorf("home knows %d phones", len(w.Phones))
		}
		var here []office.Whereabouts
		if err := c.w.ask(o, "/where", nil, &here); err != nil {
			return err
		}
		for _, u := range here {
			for _, p := range u.Phones {
				if u.User == mover+"@north.example" && string(p.Office) == o && o != at {
					return fmt.Errorf("%s still has %s", o, p.Contact)
				}
			}
		}
	}
	is, err := c.w.redis("HGET roam:loc:{1001@north.example} office")
	if err == nil && is != at {
		err = fmt.Errorf("Redis says %q", is)
	}
	return err
}

// reached has a desk call the mover: it is he who rings, once, and, if listen, is heard.
func (c *cell) reached(desk *handset, listen bool) error {
	before := c.device.rang.Load()
	call, err := c.soon(desk, mover)
	if err != nil {
		return fmt.Errorf("%s calls: %w", desk.user, err)
	}
	c.answered++
	defer hangup(call)
	if n := c.device.rang.Load() - before; n != 1 {
		return fmt.Errorf("%s called, the phone rang %d times", desk.user, n)
	}
	if listen {
		return hears(call, toneOf(mover))
	}
	return nil
}

// soon has h call user; for a few seconds after a fault it may be told 503 (F01, F05: all goes well 5 s after the return), or
// 480 by the others of an office that stood still for longer than its sign of life stands (I4).
func (c *cell) soon(h *handset, user string) (call *phone.Call, err error) {
	for {
		call, err = h.calls(user, ringIn)
		var no *phone.Refused
		dead := errors.As(err, &no) && no.Code == 480 && no.Reason == "Callee's Office Does Not Answer"
		if err == nil || no == nil || no.Code != 503 && !dead || time.Since(c.ended) > recovers {
			return call, err
		}
		c.tell("%s calls %s: %v", h.user, user, err)
		time.Sleep(200 * time.Millisecond)
	}
}

// patient is nil when every phone that was told 503 at the office it came to was told when to come again, between 5 and 30 s.
func (c *cell) patient() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seen {
		if s.Office != c.flow.to || s.Partner != "" || !s.Sent || s.Method != register || s.Status < 400 || s.Status == 401 {
			continue
		}
		after, _ := strconv.Atoi(message(s.Raw).header("Retry-After"))
		if s.Status != 503 || after < 5 || after > 30 {
			return fmt.Errorf("%d %s with Retry-After %d to a REGISTER", s.Status, s.Reason, after)
		}
	}
	return nil
}

// lives is nil when the call is up, and heard.
func (s *standing) lives() error {
	select {
	case <-s.call.Done():
		return fmt.Errorf("%s: the call has ended", s.name)
	default:
	}
	if err := hears(s.call, s.hz); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// recorded is nil when home's ledger has every answered call of the mover exactly once, from the office that served it.
func (c *cell) recorded() error {
	var list []roam.CDR
	if err := c.w.ask(home, "/cdr", url.Values{"user": {mover + "@north.example"}, "max": {"200"}}, &list); err != nil {
		return err
	}
	once, answered := map[string]bool{}, 0
	for _, r := range list {
		if r.Kind == roam.Transit { // home's own, of a call that it handed on to where he is
			continue
		}
		for _, id := range []string{r.ID, fmt.Sprintf("%s %s %s", r.ICID, r.Office, r.Role)} {
			if once[id] {
				return fmt.Errorf("%s is there twice", id)
			}
			once[id] = true
		}
		if !r.Answered.IsZero() {
			answered++
			if r.End.IsZero() {
				return fmt.Errorf("%s has no end", r.ID)
			}
		}
	}
	if answered < c.answered || answered > c.answered+c.doubtful {
		return fmt.Errorf("%d records of %d to %d answered calls", answered, c.answered, c.answered+c.doubtful)
	}
	return nil
}

// idle is nil when no office has a call, a port, a transaction or a record on its way.
func (c *cell) idle() error {
	for o := range labOrder {
		m, err := c.w.metrics(o)
		if err != nil {
			return err
		}
		for name, value := range m {
			switch {
			case strings.HasPrefix(name, "siproam_calls"), name == `siproam_media_ports{state="used"`, name == `siproam_sip_transactions{state="live"`,
				strings.HasPrefix(name, "siproam_routes_unpublished_users"), strings.HasPrefix(name, "siproam_panics_total"),
				strings.HasPrefix(name, "siproam_handler_panics_total"):
				if value != 0 {
					return fmt.Errorf("%s: %s is %v", o, name, value)
				}
			}
		}
		keys := []string{"roam:cdr:{" + o + "}"}
		for home := range labOrder {
			keys = append(keys, "roam:cdrack:{"+o+"}:"+home)
		}
		for _, key := range keys {
			n, err := c.w.redis("XLEN " + key)
			if err == nil && n != "0" {
				err = fmt.Errorf("%s holds %s", key, n)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// empty is nil when, all phones having gone, no office has a registration.
func (c *cell) empty() error {
	for o := range labOrder {
		m, err := c.w.metrics(o)
		if err != nil {
			return err
		}
		for name, value := range m {
			if strings.HasPrefix(name, "siproam_bindings{") && value != 0 {
				return fmt.Errorf("%s: %s is %v", o, name, value)
			}
		}
	}
	return nil
}

// grew is nil when Redis never had the mover in two offices with one epoch, and his epoch only grew.
func (c *cell) grew() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, at := uint64(0), ""
	for _, line := range c.epochs {
		word, office, _ := strings.Cut(line, "\n")
		epoch, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return fmt.Errorf("epoch %q", word)
		}
		if epoch < last || epoch == last && office != at {
			return fmt.Errorf("the epoch fell: %q", c.epochs)
		}
		last, at = epoch, office
	}
	if len(c.epochs) < 2 {
		return errors.New("the epoch did not grow")
	}
	return nil
}

// secret is nil when neither the mover's password nor its hash is in a log, in Redis, or in another office's files.
func (c *cell) secret() error {
	ha1 := md5.Sum([]byte(mover + ":north.example:demo-" + mover))
	secrets := []string{"demo-" + mover, hex.EncodeToString(ha1[:])}
	for host, p := range c.w.run {
		for _, s := range secrets {
			if strings.Contains(p.out.String(), s) {
				return fmt.Errorf("the log of %s has a secret", host)
			}
		}
	}
	return filepath.WalkDir(c.w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, c.w.state(home)+"/") {
			return nil // what goes meanwhile holds nothing
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for _, s := range append(secrets, string(ha1[:])) {
			if bytes.Contains(b, []byte(s)) {
				return fmt.Errorf("%s has a secret", path)
			}
		}
		return nil
	})
}
