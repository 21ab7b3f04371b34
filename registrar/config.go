package registrar

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// DefaultConfig is 300 s (60 s to 1 h), 5 contacts, many devices, MD5, and calls challenged over UDP.
func DefaultConfig() Config {
	return Config{
		Expires: roam.Duration(300 * time.Second), Min: roam.Duration(time.Minute), Max: roam.Duration(time.Hour),
		Contacts: 5, Devices: "many", Algorithms: []string{"md5"}, ChallengeCalls: "udp", Offline: "tell",
	}
}

// Validate finds what is wrong with office.yaml's "registration", all at once; each error begins with its key.
func (c *Config) Validate() error {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Min.D() < 10*time.Second {
		say("min: %v is below 10s; phones would do nothing but register", c.Min)
	}
	if c.Max.D() > 24*time.Hour {
		say("max: %v is above 24h", c.Max)
	}
	if c.Max < c.Min {
		say("max: %v is below min, %v", c.Max, c.Min)
	}
	if c.Expires < c.Min || c.Expires > c.Max {
		say("expires: %v is not between min, %v, and max, %v", c.Expires, c.Min, c.Max)
	}
	if c.Contacts < 1 || c.Contacts > 100 {
		say("contacts: %d is not between 1 and 100", c.Contacts)
	}
	if c.Devices != "many" && c.Devices != "one" {
		say("devices: %q; want many or one", c.Devices)
	}
	if !slices.Contains([]string{"never", "udp", "always"}, c.ChallengeCalls) {
		say("challenge_calls: %q; want never, udp or always", c.ChallengeCalls)
	}
	if p := c.Probe.D(); p != 0 && p < 10*time.Second {
		say("probe: %v; want 0s, or at least 10s", c.Probe)
	}
	if c.Offline != "tell" && c.Offline != "keep" {
		say("offline: %q; want tell or keep", c.Offline)
	}
	if len(c.Algorithms) == 0 {
		say("algorithms: none; want md5, sha-256 or both")
	}
	for _, a := range c.Algorithms {
		if a != "md5" && a != "sha-256" {
			say("algorithms: %q; want md5 or sha-256", a)
		}
	}
	return errors.Join(errs...)
}
