package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/phone"
)

// TestOneDomainTwoOffices: north and south share the SIP domain example.com; each has users of its own there, who
// register at either and call each other.
func TestOneDomainTwoOffices(t *testing.T) {
	l := startThree(t, func(office, yaml string) string {
		if office == "west" {
			return yaml
		}
		return strings.Replace(yaml, "domain: "+office+".example", "domain: example.com", 1)
	})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	join := func(number, office string, tone float64) *phone.Phone {
		t.Helper()
		var p *phone.Phone
		eventually(t, 10*time.Second, number+" at "+office, func() (err error) { // its home may not have published it yet
			p, err = phone.New(phone.Config{AOR: "sip:" + number + "@example.com", Login: number, Password: "demo-" + number, Proxy: l.proxy(office),
				Listen: "127.0.0.1:0", Tone: tone, Answer: phone.Talk, Log: zerolog.Nop()})
			if err != nil {
				return err
			}
			own, end := context.WithCancel(ctx)
			done := make(chan struct{})
			go func() { defer close(done); p.Run(own) }()
			if err = p.Registered(ctx); err != nil {
				end()
				<-done
				return err
			}
			t.Cleanup(func() { end(); <-done })
			return nil
		})
		return p
	}
	alice, carol, bob := join("1001", "south", 440), join("2001", "south", 660), join("1002", "north", 880)
	for _, c := range []struct {
		from   *phone.Phone
		number string
		heard  float64
	}{{carol, "1001", 440}, {bob, "1001", 440}, {alice, "1002", 880}, {bob, "2001", 660}} {
		call, err := c.from.Call(ctx, "sip:"+c.number+"@example.com")
		if err != nil {
			t.Fatalf("to %s: %v", c.number, err)
		}
		eventually(t, 5*time.Second, c.number+" is heard", func() error {
			if got := call.Heard(c.heard); got < 500*time.Millisecond {
				return fmt.Errorf("%v of %v Hz", got, c.heard)
			}
			return nil
		})
		if err := call.Hangup(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // the callee hangs up too
	}
}
