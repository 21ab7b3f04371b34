//go:build endpoints

package e2e

import (
	"errors"
	"syscall"
	"time"
)

// fault is something that fails for a while, and comes back.
type fault struct {
	name   string
	lasts  time.Duration
	strike func(*cell) error
	heal   func(*cell) error
}

// The faults of the table. A killed office is started again at once, as its supervisor does.
var faults = []fault{
	{"killed", 300 * time.Millisecond,
		func(c *cell) error { return c.w.kill(c.hit()) },
		func(c *cell) error { return errors.Join(c.w.start(c.hit()), c.w.ready(c.hit())) }},
	{"stopped", 10 * time.Second,
		func(c *cell) error { return c.w.signal(c.hit(), syscall.SIGSTOP) },
		func(c *cell) error { return c.w.signal(c.hit(), syscall.SIGCONT) }},
	{"redis-killed", 3 * time.Second,
		func(c *cell) error { return c.w.kill("redis") },
		func(c *cell) error { return errors.Join(c.w.start("redis"), c.w.ready("redis")) }},
	{"redis-slow", 3 * time.Second,
		func(c *cell) error { _, err := c.w.redis("CLIENT PAUSE 3000 ALL"); return err },
		func(c *cell) error { return nil }},
	{"partition", 10 * time.Second,
		func(c *cell) error {
			for _, p := range c.step.cut(c.flow) {
				if err := c.w.drop(p[0], p[1]); err != nil {
					return err
				}
			}
			return nil
		},
		func(c *cell) error { c.w.mend(); return nil }},
	{"loss", 10 * time.Second,
		func(c *cell) error { return c.w.lose(c.step.lossy(c.flow), 30) },
		func(c *cell) error { c.w.mend(); return nil }},
}

// hit is the office whose process fails.
func (c tag) hit() string { return c.step.hit(c.flow) }
