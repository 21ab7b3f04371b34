//go:build endpoints

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/phone"
)

// handset is a phone in a host of a world: at an office's desk, or the device that is carried about. It answers with a tone.
type handset struct {
	*phone.Phone
	w     *world
	user  string
	rang  atomic.Int64
	stop  context.CancelFunc
	ended chan struct{}

	mu sync.Mutex // guards at
	at string     // office the device is plugged in at; "": a desk's, which stays
}

// toneOf is what a user's phone plays.
func toneOf(user string) float64 { return map[byte]float64{'1': 440, '2': 660, '3': 880}[user[0]] }

func domainOf(user string) string {
	return map[byte]string{'1': "north", '2': "south", '3': "west"}[user[0]] + ".example"
}

func aorOf(user string) string { return "sip:" + user + "@" + domainOf(user) }

// devicePort is where the device takes SIP, so that the ghost of it hears what still comes.
const devicePort = 5060

// handset starts a phone of user at an office; carried says that it is the device. It does not wait for its registration.
func (w *world) handset(user, password, office string, carried bool) (*handset, error) {
	h := &handset{w: w, user: user, ended: make(chan struct{})}
	cfg := phone.Config{
		AOR: aorOf(user), Login: user, Password: password, Proxy: proxy(office), Listen: lan(office, deskHost) + ":0",
		Instance: "urn:uuid:00000000-0000-4000-8000-00000000" + user, Expires: 30 * time.Second, Tone: toneOf(user), Answer: phone.Talk,
		Log: zerolog.New(h),
	}
	host := "desk-" + office
	if carried {
		cfg.Listen, host, h.at = fmt.Sprintf("0.0.0.0:%d", devicePort), "device", office
	}
	cfg.Socket = func(at *net.UDPAddr) (c *net.UDPConn, err error) {
		if plugged := h.office(); plugged != "" {
			at = &net.UDPAddr{IP: net.ParseIP(lan(plugged, deviceHost)), Port: at.Port}
		}
		err = within(w.ns(host), func() (err error) {
			c, err = net.ListenUDP("udp", at)
			return err
		})
		return c, err
	}
	p, err := phone.New(cfg)
	if err != nil {
		return nil, err
	}
	h.Phone = p
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	go func() { defer close(h.ended); p.Run(ctx) }()
	return h, nil
}

func (h *handset) office() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

// Write takes the phone's log.
func (h *handset) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(`"phone.ringing"`)) {
		h.rang.Add(1)
	}
	return len(line), nil
}

// registered waits until the phone has been told 200.
func (h *handset) registered(limit time.Duration) error {
	end := time.Now().Add(limit)
	return until(limit, h.user+" registered", func() error {
		ctx, stop := context.WithDeadline(context.Background(), end)
		defer stop()
		return h.Registered(ctx)
	})
}

// move pulls the device's cable and plugs it in at office; then, or while it does, between is called. The phone goes on there by
// itself; move does not wait for what becomes of it.
func (h *handset) move(office string, between func()) error {
	h.mu.Lock()
	left := h.at
	h.at = office
	h.mu.Unlock()
	if err := h.w.plug(left, false); err != nil {
		return err
	}
	if err := h.w.haunt(left); err != nil {
		return err
	}
	between()
	if err := h.w.plug(office, true); err != nil {
		return err
	}
	go h.Move(context.Background(), proxy(office)) // Registered tells how it went
	return nil
}

// calls has the phone call user, and gives the call when it was answered within limit. A refusal is a *[phone.Refused].
func (h *handset) calls(user string, limit time.Duration) (*phone.Call, error) {
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	return h.Call(ctx, aorOf(user))
}

// hangup ends a call; what the office says of it is another test's.
func hangup(c *phone.Call) {
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Second)
	defer stop()
	_ = c.Hangup(ctx)
}

// hears waits until the far end's tone is heard.
func hears(c *phone.Call, hz float64) error {
	before := c.Heard(hz)
	return until(5*time.Second, fmt.Sprintf("%v Hz heard", hz), func() error {
		if got := c.Heard(hz) - before; got < 200*time.Millisecond {
			return fmt.Errorf("heard %v", got)
		}
		return nil
	})
}

// ghost listens where the device was in an office, and notes the calls that still come.
type ghost struct {
	c *net.UDPConn

	mu    sync.Mutex      // guards calls
	calls map[string]bool // Call-IDs of INVITEs
}

// called is how many calls have come.
func (g *ghost) called() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

func (w *world) ghost(office string) (*ghost, error) {
	g := &ghost{calls: map[string]bool{}}
	err := within(w.ns("desk-"+office), func() (err error) {
		g.c, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(lan(office, deviceHost)), Port: devicePort})
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		b := make([]byte, 65535)
		for {
			n, _, err := g.c.ReadFromUDP(b)
			if err != nil {
				return
			}
			if m := message(b[:n]); strings.HasPrefix(string(m), "INVITE ") {
				g.mu.Lock()
				g.calls[m.header("Call-ID")] = true
				g.mu.Unlock()
			}
		}
	}()
	return g, nil
}
