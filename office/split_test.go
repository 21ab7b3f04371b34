package office_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
)

// split is three offices of which north is a registrar and two softswitches, each with a loop, a file and sockets of its own,
// as processes have them; south and west are one each.
type split struct {
	*three
	ports  []int                // of the registrar and the softswitches
	parts  [3]*office.Office    // the registrar, and the softswitches by number
	halt   [3]func()            // ends one
	desk   *office.House        // the registrar's, to be asked
	change func(*office.Config) // nil, or of each part's configuration
}

// startSplit runs them. change, unless nil, changes the configuration of each part of north.
func startSplit(t testing.TB, change func(*office.Config)) *split {
	t.Helper()
	dir, err := os.MkdirTemp("", "split") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	x := &split{three: &three{t: t, dir: dir}}
	if x.store, err = routesrv.StartEmbedded("127.0.0.1:0", ""); err != nil {
		t.Fatal(err)
	}
	x.certificates()
	for _, name := range []string{"reg", "sw1", "sw2"} {
		x.sign(name, &x509.Certificate{
			DNSNames: []string{name + ".north.example", "sip.north.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, x.ca, x.caKey)
	}
	x.change = change
	x.house = &office.House{State: dir, Version: "test", Log: zerolog.Nop()}
	ports := x.freePorts(5)
	x.ports = ports[:3]
	for i, name := range officeNames[1:] {
		o, err := office.New(x.config(1+i, name, ports[3+i]), zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		o.Seed = &office.Seed{CSV: users(1 + i)}
		x.house.Offices = append(x.house.Offices, o)
	}
	x.run()
	for n := range 3 {
		x.start(n)
	}
	return x
}

// splitLog is silent, unless a test is looked into.
func splitLog() zerolog.Logger {
	if os.Getenv("SPLIT_LOG") == "" {
		return zerolog.Nop()
	}
	return zerolog.New(os.Stderr).With().Timestamp().Logger()
}

// part is the configuration of north's registrar, n 0, or its softswitch n.
func (x *split) part(n int) office.Config {
	uri := func(i int) string { return fmt.Sprintf("sip:127.0.0.1:%d;transport=tls", x.ports[i]) }
	c := x.config(0, "north", x.ports[n])
	name := [...]string{"reg", "sw1", "sw2"}[n]
	c.Roles, c.State = []string{"softswitch"}, filepath.Join(x.dir, name)
	c.TLS.Cert, c.TLS.Key = x.pem(name+".pem"), x.pem(name+".key")
	c.Media.Ports = fmt.Sprintf("%d-%d", 31000+200*n, 31199+200*n)
	if n == 0 {
		c.Roles, c.Listen = []string{"registrar"}, nil
	}
	c.Processes = &office.Processes{Registrar: office.Process{URI: uri(0), Certificate: "reg.north.example"}}
	for i := 1; i <= 2; i++ {
		c.Processes.Softswitches = append(c.Processes.Softswitches, office.Process{ID: roam.SwitchID(fmt.Sprintf("north/%d", i)), URI: uri(i),
			Certificate: fmt.Sprintf("sw%d.north.example", i), Phones: fmt.Sprintf("sip:sw%d.north.example", i)})
	}
	return c
}

// start runs part n until halt, from the file that it left when it ran before.
func (x *split) start(n int) {
	x.t.Helper()
	cfg := x.part(n)
	if x.change != nil {
		x.change(&cfg)
	}
	o, err := office.New(cfg, splitLog().With().Int("part", n).Logger())
	if err != nil {
		x.t.Fatal(err)
	}
	run := o.Run
	if n == 0 {
		o.Seed, x.desk = &office.Seed{CSV: users(0)}, &office.House{Offices: []*office.Office{o}, State: filepath.Join(x.dir, "desk"), Version: "test", Log: zerolog.Nop()}
		run = func(ctx context.Context) error { return x.desk.Run(ctx, nil) }
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	x.parts[n] = o
	x.halt[n] = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			x.t.Error(err)
		}
	})
	x.t.Cleanup(x.halt[n])
	select {
	case <-o.Ready():
	case <-time.After(10 * time.Second):
		x.t.Fatalf("part %d not ready after 10 s", n)
	}
}

// door is where phones reach softswitch n.
func (x *split) door(n int, network string) string {
	for _, a := range x.parts[n].Addrs() {
		if rest, found := strings.CutPrefix(a, network+":"); found {
			return rest
		}
	}
	x.t.Fatalf("softswitch %d does not listen by %s", n, network)
	return ""
}

// handset is a phone that is registered by softswitch n of north, or at another office when that is named, and plays hz.
func (x *split) handset(user string, n int, hz float64, tcp bool) *phone.Phone {
	x.t.Helper()
	p := x.phone(user, "", phone.Config{Answer: phone.Talk, Tone: hz, TCP: tcp, Instance: "urn:uuid:" + user}, x.door(n, map[bool]string{true: "tcp", false: "udp"}[tcp]))
	if _, err := x.plug(p); err != nil {
		x.t.Fatalf("%s by softswitch %d: %v", user, n, err)
	}
	return p
}

// locatedBy waits until the routing store names softswitch n of north for user.
func (x *split) locatedBy(user string, n int) {
	x.t.Helper()
	x.eventually(fmt.Sprintf("%s is by softswitch %d", user, n), func() error {
		w, err := x.desk.Where(x.t.Context(), user, "")
		if want := fmt.Sprintf("sip:127.0.0.1:%d;transport=tls", x.ports[n]); err == nil && w.Switch != want {
			err = fmt.Errorf("is at %q by %q, want %q", w.At, w.Switch, want)
		}
		return err
	})
}

// at waits until north's registrar says that user is at an office.
func (x *split) at(user, at string) {
	x.t.Helper()
	x.eventually(user+" is at "+at, func() error {
		w, err := x.desk.Where(x.t.Context(), user, "")
		if err == nil && string(w.At) != at {
			err = fmt.Errorf("is at %q", w.At)
		}
		return err
	})
}

// TestSplit is an office in three processes: phones of one softswitch, between the two, from and to other offices, own
// users and visitors, each call with audio both ways, and one user who is carried from softswitch to office to softswitch.
func TestSplit(t *testing.T) {
	x := startSplit(t, nil)
	alice, bob := x.handset("1001", 1, 440, false), x.handset("1002", 2, 550, true)
	carla := x.handset("1003", 1, 660, true)
	x.locatedBy("1001", 1)
	x.locatedBy("1002", 2)
	guest := x.handset("2002", 2, 770, false) // south's user
	x.located("2002", "north")
	dora := x.talker("2001", "south", "udp", 880)
	for _, c := range []struct {
		what   string
		a, b   *phone.Phone
		uri    string
		hz, hw float64
	}{
		{"by one softswitch", alice, carla, "1003", 440, 660},
		{"from softswitch 1 to 2", alice, bob, "1002", 440, 550},
		{"from softswitch 2 to 1", bob, alice, "1001", 550, 440},
		{"to another office", alice, dora, "sip:2001@south.example", 440, 880},
		{"from another office", dora, bob, "sip:1002@north.example", 880, 550},
		{"to a visitor by the other softswitch", alice, guest, "sip:2002@south.example", 440, 770},
		{"from a visitor to the other softswitch", guest, alice, "sip:1001@north.example", 770, 440},
		{"from home to its visitor", dora, guest, "2002", 880, 770},
	} {
		x.converse(c.what, c.a, c.b, c.uri, c.hz, c.hw)
	}
	ctx := within(t, 20*time.Second)
	for _, to := range []struct {
		proxy string
		is    func()
	}{
		{x.addr("south", "udp"), func() { x.at("1001", "south") }},
		{x.door(2, "udp"), func() { x.locatedBy("1001", 2) }},
		{x.door(1, "udp"), func() { x.locatedBy("1001", 1) }},
	} {
		if err := alice.Move(ctx, to.proxy); err != nil {
			t.Fatal(err)
		}
		to.is()
		for moved := time.Now(); ; time.Sleep(50 * time.Millisecond) { // calls find her within 2 s
			call, err := bob.Call(ctx, "1001")
			if err == nil {
				err = call.Hangup(ctx)
			}
			if err == nil || time.Since(moved) > 2*time.Second {
				break
			}
		}
		x.converse("alice, carried to "+to.proxy, bob, alice, "1001", 550, 440)
		x.converse("from there", alice, dora, "sip:2001@south.example", 440, 880)
	}
	x.records(t)
}

// records: each call of north's users is in its registrar's ledger once for each of them, whichever softswitch had it.
func (x *split) records(t *testing.T) {
	x.eventually("records of the calls between softswitches", func() error {
		list, err := x.desk.Records(t.Context(), "", "north", "", 1000)
		if err != nil {
			return err
		}
		n := map[string]int{}
		for _, r := range list {
			n[fmt.Sprintf("%s %s->%s", r.Role, r.From, r.To)]++
		}
		for _, want := range []string{"caller 1001@north.example->1002@north.example", "callee 1001@north.example->1002@north.example",
			"caller 1001@north.example->1003@north.example", "callee 2001@south.example->1002@north.example"} {
			if n[want] != 1 {
				return fmt.Errorf("got %d of %q, want 1, in %v", n[want], want, n)
			}
		}
		return nil
	})
}

// TestSplitRefusals: what a phone may not do all in one it may not do here.
func TestSplitRefusals(t *testing.T) {
	x := startSplit(t, nil)
	for what, c := range map[string]phone.Config{"a wrong password": {Password: "guess"}, "nobody": {}} {
		user := map[bool]string{true: "1009", false: "1001"}[what == "nobody"]
		p := x.phone(user, "", c, x.door(1, "udp"))
		_, err := x.plug(p)
		var no *phone.Refused
		if !errors.As(err, &no) || no.Code != 401 && no.Code != 403 {
			t.Errorf("%s: got %v, want it refused", what, err)
		}
	}
}
