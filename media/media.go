// Package media relays RTP and RTCP between the legs of a call and rewrites their SDP.
//
// It is the only reader of SDP and knows no policy: SDP goes in and comes out ([Bridge.Pass]),
// packets go from one leg to the other, and counters are read at the end. It owns the media ports.
// A [Relay] has one goroutine of its own that looks for silent calls and ports that rest too long, and a few that read sockets; they
// share one mutex per call. Every method is safe anywhere and blocks for no longer than it
// takes to open a few sockets.
//
// Who may send: a leg's packets come from the address its SDP names or from where its signalling
// comes from, and all addresses of this machine count as one. The first valid packet latches the
// leg: from then on we send there and hear nothing else, until another SDP, or a second of silence.
//
// Implements RFC 3550 (header, loss and jitter), 3264 (streams, hold), 3605 (a=rtcp), 4961
// (symmetric RTP), 5761 (rtcp-mux), and reads RFC 4566 as phones write it. SRTP and T.38 pass
// unread. Leaves out ICE (its lines are taken out of SDP), BUNDLE, and media over TCP.
package media

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

// Config says where media ports come from (office.yaml "media").
type Config struct {
	Ports      string        `yaml:"ports"`        // "20000-20999": RTP even, RTCP the odd one above; two ports per leg and stream
	DSCP       int           `yaml:"dscp"`         // 46 is EF
	Idle       roam.Duration `yaml:"idle"`         // a call without RTP and RTCP for so long is silent; 60s
	IdleOnHold roam.Duration `yaml:"idle_on_hold"` // the same while any direction is held; 30m

	Codecs []string `yaml:"codecs"` // of calls with other offices, one at least must be offered: [PCMA, PCMU]; none: any

	Addr          netip.Addr     `yaml:"-"` // address bound, and told to local networks; unspecified: of each leg the one its flow came to; invalid: 127.0.0.1
	Advertise     netip.Addr     `yaml:"-"` // told to anyone else; invalid: Addr
	LocalNetworks []netip.Prefix `yaml:"-"`
	Rest          roam.Duration  `yaml:"-"` // how long a port rests before the next call gets it; 0: 30s
}

// defaultRest is longer than a phone that missed the BYE's answer goes on sending (64*T1 = 32 s is
// the longest; the last two seconds are let go).
const defaultRest = 30 * time.Second

// DefaultConfig is 20000-20999, EF, 60 s, 30 min.
func DefaultConfig() Config {
	return Config{
		Ports:      "20000-20999",
		DSCP:       46,
		Idle:       roam.Duration(time.Minute),
		IdleOnHold: roam.Duration(30 * time.Minute),
	}
}

// Validate finds a bad port range or time; all mistakes at once.
func (c *Config) Validate() error {
	var errs []error
	if _, _, err := portRange(c.Ports); err != nil {
		errs = append(errs, err)
	}
	if c.DSCP < 0 || c.DSCP > 63 {
		errs = append(errs, fmt.Errorf("media.dscp: %d is not in 0-63", c.DSCP))
	}
	if c.Idle.D() < time.Second {
		errs = append(errs, fmt.Errorf("media.idle: %s is below 1s", c.Idle))
	}
	if c.IdleOnHold < c.Idle {
		errs = append(errs, fmt.Errorf("media.idle_on_hold: %s is below media.idle, %s", c.IdleOnHold, c.Idle))
	}
	return errors.Join(errs...)
}

// portRange reads "20000-20999" as the first even and the last odd port in it.
func portRange(s string) (first, last int, err error) {
	low, high, found := strings.Cut(s, "-")
	first, lowErr := strconv.Atoi(strings.TrimSpace(low))
	last, highErr := strconv.Atoi(strings.TrimSpace(high))
	if !found || lowErr != nil || highErr != nil {
		return 0, 0, fmt.Errorf("media.ports: %q is not a range such as 20000-20999", s)
	}
	if first < 1024 || last > 65535 {
		return 0, 0, fmt.Errorf("media.ports: %s is not within 1024-65535", s)
	}
	first += first % 2
	last -= 1 - last%2
	if last < first+3 {
		return 0, 0, fmt.Errorf("media.ports: %s has no room for a call, which needs two even and two odd ports", s)
	}
	return first, last, nil
}
