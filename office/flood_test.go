package office_test

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip/transport"
)

// rejected is how much an office refused for a reason of overload.
func rejected(o *office.Office, reason string) uint64 {
	n, _ := o.Metrics().Overload().With(reason).Count()
	return n
}

// heap is what is in use after a collection, in MiB.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc >> 20)
}

// TestFlood: while somebody at the phones' own address sends all he can, of every kind, the phones, which registered
// before, go on calling each other; what he sends is dropped by the thousand, and leaves nothing.
func TestFlood(t *testing.T) {
	x := startThree(t, func(c *office.Config) {
		c.Overload = transport.DefaultOverload()
		c.Overload.Exempt = nil // nor loopback
	})
	ctx := within(t, 60*time.Second)
	alice := x.phone("2001", "south", phone.Config{Tone: 440, Answer: phone.Talk})
	bob := x.phone("2002", "south", phone.Config{Tone: 880, Answer: phone.Talk})
	for _, p := range []*phone.Phone{alice, bob} {
		if _, err := x.plug(p); err != nil {
			t.Fatal(err)
		}
	}
	south, server := x.office("south"), x.addr("south", "udp")
	before := heap()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, text := range []func(n int) string{
		func(n int) string {
			return strange("REGISTER", "sip:south.example", fmt.Sprintf("sip:%d@south.example", n), false, "")
		},
		func(n int) string {
			return strange("REGISTER", "sip:north.example", fmt.Sprintf("sip:%d@north.example", n), false, "")
		},
		func(int) string {
			return strange("INVITE", "sip:2001@south.example", "sip:2002@south.example", false, "")
		},
		func(int) string { return strange("OPTIONS", "sip:south.example", "sip:south.example", false, "")[:120] },
	} {
		c, err := net.Dial("udp", server)
		if err != nil {
			t.Fatal(err)
		}
		var texts [500]string // each with a Call-ID of its own
		for i := range texts {
			texts[i] = text(i)
		}
		wg.Go(func() {
			defer c.Close()
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ; n++ {
				for i := range 25 {
					c.Write([]byte(texts[(25*n+i)%len(texts)]))
				}
				select {
				case <-stop:
					return
				case <-pace.C:
				}
			}
		})
	}
	x.eventually("the limit is reached", func() error {
		if n := rejected(south, "source"); n < 1000 {
			return fmt.Errorf("%d dropped", n)
		}
		return nil
	})
	for range 5 {
		call, err := bob.Call(ctx, "sip:2001@south.example")
		if err != nil {
			t.Fatal(err)
		}
		heard := call.Heard(440)
		for ctx.Err() == nil && call.Heard(440) < heard+100*time.Millisecond {
			time.Sleep(5 * time.Millisecond)
		}
		if err := call.Hangup(ctx); err != nil {
			t.Fatal(err)
		}
	}
	dropped := rejected(south, "source")
	close(stop)
	wg.Wait()
	if grown := heap() - before; grown > 30 {
		t.Errorf("the heap grew by %d MiB", grown)
	}
	t.Logf("%d dropped", dropped)
}
