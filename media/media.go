// Package media relays RTP and RTCP between the legs of a call and rewrites their SDP
// (RFC 3550, 4566, 3264, 3605, 5761). It is the only reader of SDP and knows no policy.
package media

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// Config says where media ports come from (office.yaml "media").
type Config struct {
	Ports      string        `yaml:"ports"`        // "20000-20999": RTP even, RTCP the odd one above; two ports per leg and stream
	DSCP       int           `yaml:"dscp"`         // 46 is EF
	Idle       roam.Duration `yaml:"idle"`         // a call without RTP and RTCP for so long is silent; 60s
	IdleOnHold roam.Duration `yaml:"idle_on_hold"` // the same while any direction is held; 30m

	Addr          netip.Addr     `yaml:"-"` // address bound, and told to local networks
	Advertise     netip.Addr     `yaml:"-"` // told to anyone else; invalid: Addr
	LocalNetworks []netip.Prefix `yaml:"-"`
}

// DefaultConfig is 20000-20999, EF, 60 s, 30 min.
func DefaultConfig() Config { panic("media: not built") }

// Validate finds a bad port range or time.
func (c *Config) Validate() error { panic("media: not built") }

// Relay hands out bridges. It is safe from any goroutine.
type Relay struct{}

// New opens no port yet.
func New(cfg Config, m *metric.Set, log zerolog.Logger) (*Relay, error) { panic("media: not built") }

// Open begins the media of one call. silent is called once, on a goroutine of media's, when
// nothing has come from either side for Idle (IdleOnHold while held). Errors are roam.NoCapacity.
func (r *Relay) Open(call string, silent func()) (*Bridge, error) { panic("media: not built") }

// Ports is how many ports are in use, free and resting.
func (r *Relay) Ports() (used, free, resting int) { panic("media: not built") }

// Close ends every bridge.
func (r *Relay) Close() { panic("media: not built") }

// Bridge is the media of one call between leg "A" and one or more "B" legs ("B1", "B2" while forking).
type Bridge struct{}

// Peer is the far end of a leg as signalling saw it.
type Peer struct {
	Signal  netip.Addr // where its signalling comes from: RTP may come from there or from the address in its SDP
	Here    netip.Addr // our address on that flow, told in the SDP when it is a local network's; invalid: Config.Addr
	Partner bool       // another office: always told the advertised address
}

// Pass takes an SDP body that leg from sent, and gives what leg to must be sent: the
// same with our addresses and ports. It opens what ports the legs need and learns where
// from wants its media. peer is from's far end, and toPeer to's. Errors are roam.NotAcceptable
// (no usable SDP) and roam.NoCapacity (no port).
func (b *Bridge) Pass(from, to string, sdp []byte, peer, toPeer Peer) ([]byte, error) {
	panic("media: not built")
}

// Join says that leg is the one that won: A and leg now hear each other, other B legs are dropped.
func (b *Bridge) Join(leg string) { panic("media: not built") }

// Drop forgets a leg and gives its ports back.
func (b *Bridge) Drop(leg string) { panic("media: not built") }

// State is what is known of the call's media now.
type State struct {
	Codec string // of the last answer, "PCMA", "opus"
	Held  bool
	A, B  roam.Traffic // what came from each side
	Heard time.Time    // last RTP or RTCP
}

// State reads the counters.
func (b *Bridge) State() State { panic("media: not built") }

// Close ends the media and gives the last State.
func (b *Bridge) Close() State { panic("media: not built") }
