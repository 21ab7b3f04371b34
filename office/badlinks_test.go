package office_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip"
)

// badLinks is what stands between the offices of three, and between them and the routing store: each message between
// offices may come late, twice, after later ones, or not at all; each write to the store is delayed, and many are
// written once more, much later.
type badLinks struct {
	t       *testing.T
	ca      *x509.CertPool
	certs   map[string]tls.Certificate // by office
	store   string                     // host:port
	healed  atomic.Bool
	mu      sync.Mutex // guards dice
	dice    *rand.Rand
	writer  *redis.Client
	pending sync.WaitGroup // what is on its way late

	late, twice, lost, rewritten, refused, changed atomic.Int64
}

// chance is a number below 1, and below how much time.
func (b *badLinks) chance(most time.Duration) (float64, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dice.Float64(), time.Duration(b.dice.Int64N(int64(most)))
}

// listen gives the address of a listener that serves every connection.
func (b *badLinks) listen(serve func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// partner gives the address at which others reach an office whose listener is at real.
func (b *badLinks) partner(name, real string) string {
	return b.listen(func(c net.Conn) {
		defer c.Close()
		near := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{b.certs[name]}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: b.ca})
		if near.Handshake() != nil {
			return
		}
		from := strings.TrimSuffix(strings.TrimPrefix(near.ConnectionState().PeerCertificates[0].DNSNames[0], "sip."), ".example")
		far, err := tls.Dial("tcp", real, &tls.Config{Certificates: []tls.Certificate{b.certs[from]}, RootCAs: b.ca, ServerName: "127.0.0.1"})
		if err != nil {
			return
		}
		defer far.Close()
		over := make(chan struct{}, 2)
		go func() { b.pump(near, far); over <- struct{}{} }()
		go func() { b.pump(far, near); over <- struct{}{} }()
		<-over
	})
}

// pump carries messages from one end to the other.
func (b *badLinks) pump(from, to net.Conn) {
	var f sip.Framer
	var mu sync.Mutex // one message is written at a time
	write := func(m []byte) {
		mu.Lock()
		defer mu.Unlock()
		to.Write(m)
	}
	buf := make([]byte, 65536)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		f.Feed(buf[:n])
		for {
			m, _, err := f.Next()
			if err != nil || m == nil {
				break
			}
			b.carry(string(m), write)
		}
	}
}

// carry brings m to its end, sooner or later, or not.
func (b *badLinks) carry(m string, write func([]byte)) {
	p, d := b.chance(300 * time.Millisecond)
	switch {
	case b.healed.Load():
		write([]byte(m))
		return
	case p < 0.02:
		b.lost.Add(1)
		return
	case p < 0.04: // so late that nobody waits for it any more
		d += 5 * time.Second
		b.late.Add(1)
	case p < 0.25:
		b.twice.Add(1)
		again := 2*d + 50*time.Millisecond
		b.pending.Go(func() { time.Sleep(again); write([]byte(m)) })
		d = 0
	case p < 0.6:
		b.late.Add(1)
	default:
		d = 0
	}
	b.pending.Go(func() { time.Sleep(d); write([]byte(m)) })
}

// routes gives the address of the routing store for an office.
func (b *badLinks) routes() string {
	return b.listen(func(c net.Conn) {
		defer c.Close()
		far, err := net.Dial("tcp", b.store)
		if err != nil {
			return
		}
		defer far.Close()
		go func() { io.Copy(c, far); c.Close() }()
		r := bufio.NewReader(c)
		for {
			raw, args, err := command(r)
			if err != nil {
				return
			}
			if name := strings.ToLower(args[0]); (name == "evalsha" || name == "eval") && len(args) > 12 && !b.healed.Load() {
				p, d := b.chance(120 * time.Millisecond)
				time.Sleep(d)
				if p < 0.5 {
					b.pending.Go(func() { time.Sleep(20*d + time.Second); b.rewrite(args) })
				}
			}
			if _, err := far.Write(raw); err != nil {
				return
			}
		}
	})
}

// rewrite does a write once more, long after. It must change nothing that is newer.
func (b *badLinks) rewrite(args []string) {
	ctx := context.Background()
	words := make([]any, len(args))
	for i, a := range args {
		words[i] = a
	}
	before := b.writer.HGet(ctx, args[3], "epoch").Val()
	b.rewritten.Add(1)
	got, err := b.writer.Do(ctx, words...).Slice()
	if err == nil && len(got) > 0 && got[0] == int64(0) {
		b.refused.Add(1)
	}
	was, _ := strconv.ParseUint(before, 10, 64)
	if now, _ := strconv.ParseUint(b.writer.HGet(ctx, args[3], "epoch").Val(), 10, 64); now < was {
		b.changed.Add(1)
	}
}

// command reads one command: its octets, and its words.
func command(r *bufio.Reader) (raw []byte, args []string, err error) {
	line := func(kind byte) (n int, err error) {
		s, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		raw = append(raw, s...)
		if s[0] != kind {
			return 0, fmt.Errorf("got %q", s)
		}
		return strconv.Atoi(strings.TrimSpace(s[1:]))
	}
	n, err := line('*')
	for i := 0; i < n && err == nil; i++ {
		var size int
		if size, err = line('$'); err != nil {
			break
		}
		b := make([]byte, size+2)
		_, err = io.ReadFull(r, b)
		raw, args = append(raw, b...), append(args, string(b[:size]))
	}
	return raw, args, err
}

// startBadLinks runs three offices that reach each other, and the store, by bad links.
func startBadLinks(t *testing.T, seed uint64) (*three, *badLinks) {
	b := &badLinks{t: t, ca: x509.NewCertPool(), certs: map[string]tls.Certificate{}, dice: rand.New(rand.NewPCG(seed, 1))}
	x := startThree(t, func(c *office.Config) {
		name := string(c.Office)
		if len(b.certs) == 0 {
			pem, err := os.ReadFile(c.TLS.PartnerCA)
			if err != nil || !b.ca.AppendCertsFromPEM(pem) {
				t.Fatal(err)
			}
			b.store = strings.TrimSuffix(strings.TrimPrefix(c.Routes.Redis, "redis://"), "/0")
			b.writer = redis.NewClient(&redis.Options{Addr: b.store, DisableIdentity: true})
			t.Cleanup(func() { b.writer.Close() })
		}
		cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		b.certs[name] = cert
		b.mu.Unlock()
		c.URI = "sip:" + b.partner(name, strings.TrimPrefix(c.PartnerListen, "tls:")) + ";transport=tls"
		c.Routes.Redis = "redis://" + b.routes() + "/0"
	})
	return x, b
}

// TestBadLinks: whatever links do to messages between offices and to writes to the routing store, no epoch goes back, and
// when they are good again the store, home and everybody else agree where each phone is, within a minute.
func TestBadLinks(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	x, b := startBadLinks(t, seed)
	const chaos = 8 * time.Second
	var moves, refusals atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex // guards phones
	phones := map[string]*phone.Phone{}
	over := time.Now().Add(chaos)
	for i, n := range []string{"1001", "1002", "2001", "2002", "3001", "3002"} {
		p := x.phone(n, officeNames[i/2], phone.Config{Instance: "urn:uuid:00000000-0000-4000-8000-00000000" + n, Expires: time.Minute})
		if _, err := x.plug(p); err != nil {
			t.Logf("%s: %v", n, err) // it tries again by itself
		}
		phones[n] = p
		dice := rand.New(rand.NewPCG(seed, uint64(2+i)))
		wg.Go(func() {
			for time.Now().Before(over) {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				if p.Move(ctx, x.addr(officeNames[dice.IntN(3)], "udp")) == nil {
					moves.Add(1)
				} else {
					refusals.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	b.pending.Wait()
	b.healed.Store(true)
	began := time.Now()
	at := map[string]string{}
	for i, n := range []string{"1001", "1002", "2001", "2002", "3001", "3002"} {
		at[n] = officeNames[i%3]
		mu.Lock()
		p := phones[n]
		mu.Unlock()
		for tries := 0; ; tries++ {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			err := p.Move(ctx, x.addr(at[n], "udp"))
			cancel()
			if err == nil {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("seed %d: %s cannot register at %s: %v", seed, n, at[n], err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	for {
		err := x.agree(b, at)
		if err == nil {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("seed %d: not right within a minute: %v", seed, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	stale := uint64(0)
	for _, o := range x.house.Offices {
		for _, f := range o.Metrics().Families() {
			if f.Name == "routes_stale_writes_total" {
				f.Each(func(v *metric.Value) { n, _ := v.Count(); stale += n })
			}
		}
	}
	t.Logf("%d moves, %d refused; %d messages late, %d twice, %d lost; %d writes repeated, of these %d refused; %d late writes of offices refused; all right after %v",
		moves.Load(), refusals.Load(), b.late.Load(), b.twice.Load(), b.lost.Load(), b.rewritten.Load(), b.refused.Load(), stale, time.Since(began).Round(100*time.Millisecond))
	if b.changed.Load() > 0 {
		t.Errorf("seed %d: an epoch went back %d times", seed, b.changed.Load())
	}
	if moves.Load() < 20 || b.twice.Load() == 0 || b.late.Load() == 0 || b.refused.Load() == 0 {
		t.Errorf("seed %d: that was no test", seed)
	}
}

// agree is nil when the store and every office say that everybody is where at says.
func (x *three) agree(b *badLinks, at map[string]string) error {
	for n, want := range at {
		user := n + "@" + officeNames[n[0]-'1'] + ".example"
		if got := b.writer.HGet(context.Background(), "roam:loc:{"+user+"}", "office").Val(); got != want {
			return fmt.Errorf("R: %s is at %q, want %q", n, got, want)
		}
		for _, o := range x.house.Offices {
			w, err := x.house.Where(context.Background(), user, o.Name())
			if err != nil {
				return err
			}
			if string(w.At) != want {
				return fmt.Errorf("%s: %s is at %q, want %q", o.Name(), n, w.At, want)
			}
			for _, p := range w.Phones {
				if string(p.Office) != want {
					return fmt.Errorf("%s: %s has a phone at %s still", o.Name(), n, p.Office)
				}
			}
		}
	}
	return nil
}
