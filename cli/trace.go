package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/web"
)

type trace struct {
	target
	User []string `arg:"" optional:"" help:"Only messages about these users."`
	Pcap string   `type:"path" placeholder:"FILE" help:"Write a capture for Wireshark, too."`
}

// Run is kong's. It ends with Ctrl-C.
func (c *trace) Run(e *env) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	var offices []web.Health
	if err := client.Ask(e.ctx, "GET", "/health", c.query(), nil, &offices); err != nil {
		return err
	}
	names := make([]string, len(offices))
	for i, o := range offices {
		names[i] = o.Office
	}
	give := newLadder(e.stdout, names).draw
	if e.json {
		out := json.NewEncoder(e.stdout)
		give = func(s office.Seen) error { return out.Encode(s) }
	}
	if c.Pcap != "" {
		f, err := os.OpenFile(c.Pcap, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		capture, err := newCapture(f)
		if err != nil {
			return err
		}
		show := give
		give = func(s office.Seen) error {
			if err := capture.write(s); err != nil {
				return err
			}
			return show(s)
		}
	}
	q := c.query()
	for _, u := range c.User {
		q.Add("user", u)
	}
	if !e.json {
		fmt.Fprintln(e.stderr, "listening; Ctrl-C ends")
	}
	return ignoreEnd(e.ctx, client.Trace(e.ctx, q, give))
}

// ignoreEnd is err, unless ctx has ended: the end that was asked for is no failure.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
