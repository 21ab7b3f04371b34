// Package phone is a small softphone on sipgo and pion/rtp: it registers, calls, answers, echoes and
// plays tones. It is the built-in phones of `up`, the actors of `demo`, and the far end of tests, so
// that our stack always meets foreign code.
package phone

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// Config is one phone's account and place.
type Config struct {
	AOR      string        // "sip:1001@north.example", or "sip:+15550001001@127.0.0.1:5160" for a phone that knows only a number
	Login    string        // digest user name
	Password string        // never logged
	Proxy    string        // "127.0.0.1:5160": the outbound proxy
	Listen   string        // "127.0.0.1:0"
	TCP      bool          // signalling over TCP
	Instance string        // +sip.instance, "" for none
	Agent    string        // User-Agent
	Expires  time.Duration // asked for; 0: 300 s
	Tone     float64       // Hz the phone plays while talking; 0: silence
	Answer   Behaviour
	Log      zerolog.Logger
}

// Behaviour is what a phone does when called.
type Behaviour uint8

// The behaviours.
const (
	Ring     Behaviour = iota // rings until Config's owner answers (Calls)
	Talk                      // answers and plays Tone
	Echo                      // answers and sends back what it hears
	CallBack                  // hangs up and calls back 3 s later
	Busy                      // 486
)

// Phone is one softphone.
type Phone struct{}

// New starts nothing.
func New(cfg Config) (*Phone, error) { panic("phone: not built") }

// Run registers, refreshes and answers until ctx ends; then it de-registers and hangs up.
func (p *Phone) Run(ctx context.Context) error { panic("phone: not built") }

// Registered waits until the office said 200, and gives the error of a refusal.
func (p *Phone) Registered(ctx context.Context) error { panic("phone: not built") }

// Move goes on at another proxy, as a phone that was carried there: a new registration, no goodbye.
func (p *Phone) Move(ctx context.Context, proxy string) error { panic("phone: not built") }

// Call dials; it returns when the call is answered or refused (a *Refused with the status).
func (p *Phone) Call(ctx context.Context, uri string) (*Call, error) { panic("phone: not built") }

// Refused is a final answer other than 2xx.
type Refused struct {
	Code   int
	Reason string
}

// Error is "486 Busy Here".
func (r *Refused) Error() string { panic("phone: not built") }

// Call is one call of a phone.
type Call struct{}

// Hangup sends BYE and waits for its answer.
func (c *Call) Hangup(ctx context.Context) error { panic("phone: not built") }

// Hold sends a re-INVITE with sendonly; Resume takes it back.
func (c *Call) Hold(ctx context.Context) error { panic("phone: not built") }

// Resume takes a hold back.
func (c *Call) Resume(ctx context.Context) error { panic("phone: not built") }

// Done is closed when the call has ended.
func (c *Call) Done() <-chan struct{} { panic("phone: not built") }

// Heard says for how long in all the other end's tone of hz has dominated what was heard.
func (c *Call) Heard(hz float64) time.Duration { panic("phone: not built") }

// Current is the call the phone is in, nil for none.
func (p *Phone) Current() *Call { panic("phone: not built") }
