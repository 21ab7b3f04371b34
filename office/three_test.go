package office_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
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

// officeNames are the offices of three, with the users 1001-1003, 2001-2003, 3001-3003; a password is
// "secret-" and the number.
var officeNames = [3]string{"north", "south", "west"}

// three is three real offices on loopback with one routing store, in this process.
type three struct {
	t     testing.TB
	house *office.House
	store *routesrv.Embedded
	dir   string
	stop  func() // ends offices and store, once

	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
}

// startThree runs them until the test ends. change, unless nil, changes each configuration first.
func startThree(t testing.TB, change func(*office.Config)) *three {
	t.Helper()
	return startThreeLogged(t, zerolog.Nop(), change)
}

// startThreeLogged is startThree with a log.
func startThreeLogged(t testing.TB, log zerolog.Logger, change func(*office.Config)) *three {
	t.Helper()
	return startThreeMade(t, log, change, nil)
}

// startThreeMade has made, unless nil, called with each office before it runs, too.
func startThreeMade(t testing.TB, log zerolog.Logger, change func(*office.Config), made func(*office.Office)) *three {
	t.Helper()
	dir, err := os.MkdirTemp("", "three") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	x := &three{t: t, dir: dir}
	if x.store, err = routesrv.StartEmbedded("127.0.0.1:0", ""); err != nil {
		t.Fatal(err)
	}
	x.certificates()
	x.house = &office.House{State: dir, Version: "test", Log: log}
	ports := x.freePorts(len(officeNames))
	for i, name := range officeNames {
		cfg := x.config(i, name, ports[i])
		if change != nil {
			change(&cfg)
		}
		o, err := office.New(cfg, x.house.Log)
		if err != nil {
			t.Fatal(err)
		}
		o.Seed = &office.Seed{CSV: users(i)}
		if made != nil {
			made(o)
		}
		x.house.Offices = append(x.house.Offices, o)
	}
	x.run()
	return x
}

// run runs store and house and waits until phones are served.
func (x *three) run() {
	x.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, ended, closed := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	storing, stopStore := context.WithCancel(context.Background())
	go func() { closed <- x.store.Run(storing) }()
	go func() { ended <- x.house.Run(ctx, func() { close(ready) }) }()
	x.stop = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			x.t.Error(err)
		}
		stopStore()
		if err := <-closed; err != nil {
			x.t.Error(err)
		}
	})
	x.t.Cleanup(x.stop)
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		x.t.Fatalf("offices ended: %v", err)
	case <-time.After(20 * time.Second):
		x.t.Fatal("offices not ready after 20 s")
	}
	x.met()
}

// met waits until the offices have told each other that they have started: what a test hears then is its own doing.
func (x *three) met() {
	x.t.Helper()
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		waiting := false
		for _, o := range x.house.Offices {
			for _, p := range o.Config().Partners {
				if p.Foreign == nil && slices.Contains(officeNames[:], string(p.Office)) && !told(o, string(p.Office)) {
					waiting = true
				}
			}
		}
		if !waiting {
			return
		}
	}
}

// told says that a notice of o's has been answered by a partner.
func told(o *office.Office, partner string) bool {
	for _, f := range o.Metrics().Families() {
		if strings.HasSuffix(f.Name, "partner_request_duration_seconds") {
			n, _ := f.With(partner, "NOTIFY").Count()
			return n > 0
		}
	}
	return false
}

// config is one office's; phones come by UDP or TCP to ports the kernel chooses.
func (x *three) config(i int, name string, partnerPort int) office.Config {
	c := office.DefaultConfig()
	c.Office, c.Domain, c.State = roam.OfficeID(name), name+".example", filepath.Join(x.dir, name)
	c.Listen = []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}
	c.PartnerListen = fmt.Sprintf("tls:127.0.0.1:%d", partnerPort)
	c.URI = fmt.Sprintf("sip:127.0.0.1:%d;transport=tls", partnerPort)
	c.TLS = office.TLS{Cert: x.pem(name + ".pem"), Key: x.pem(name + ".key"), PartnerCA: x.pem("ca.pem")}
	c.Media.Ports = fmt.Sprintf("%d-%d", 30000+200*i, 30199+200*i)
	c.Routes.Redis = "redis://" + x.store.Addr() + "/0"
	c.HTTP.Listen = ""
	c.Numbers = roam.Numbers{Country: "1", International: "011", National: "1", OtherOffices: map[string]roam.OfficeID{},
		Extensions: map[string]string{fmt.Sprintf("%dxxx", i+1): fmt.Sprintf("+1555000%dxxx", i+1)}}
	for j, other := range officeNames {
		if j != i {
			c.Numbers.OtherOffices[fmt.Sprintf("%dxxx", j+1)] = roam.OfficeID(other)
			p := roam.Partner{Office: roam.OfficeID(other), Certificate: "sip." + other + ".example"}
			p.Visitors.Max = 50
			c.Partners = append(c.Partners, p)
		}
	}
	return c
}

// users is the accounts of office i.
func users(i int) []byte {
	var b strings.Builder
	b.WriteString("user,name,aliases,password\n")
	for n := 1; n <= 3; n++ {
		fmt.Fprintf(&b, "%d00%d,,,secret-%d00%d\n", i+1, n, i+1, n)
	}
	return []byte(b.String())
}

// freePorts is n ports of which nobody listens, below those that the kernel gives to connections: it would give one of
// them to somebody before the office has it.
func (x *three) freePorts(n int) (all []int) {
	for tries := 0; len(all) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+mathrand.IntN(20000)))
		switch {
		case err == nil:
			defer l.Close()
			all = append(all, l.Addr().(*net.TCPAddr).Port)
		case tries > 1000:
			x.t.Fatal(err)
		}
	}
	return all
}

// office is the office of that name.
func (x *three) office(name string) *office.Office {
	for _, o := range x.house.Offices {
		if o.Name() == name {
			return o
		}
	}
	x.t.Fatalf("no office %q", name)
	return nil
}

// addr is where phones reach an office: host:port, the same kind of listener for all.
func (x *three) addr(name, network string) string {
	for _, a := range x.office(name).Addrs() {
		if rest, found := strings.CutPrefix(a, network+":"); found {
			return rest
		}
	}
	x.t.Fatalf("%s does not listen by %s: %v", name, network, x.office(name).Addrs())
	return ""
}

// phone is a phone of user n, plugged in at an office, or at one listener of it; the rest of cfg is the caller's.
func (x *three) phone(n, at string, cfg phone.Config, proxy ...string) *phone.Phone {
	x.t.Helper()
	home := officeNames[n[0]-'1']
	cfg.AOR, cfg.Proxy, cfg.Log = "sip:"+n+"@"+home+".example", strings.Join(proxy, ""), zerolog.Nop()
	if cfg.Proxy == "" {
		cfg.Proxy = x.addr(at, "udp")
	}
	if cfg.Password == "" {
		cfg.Password = "secret-" + n
	}
	p, err := phone.New(cfg)
	if err != nil {
		x.t.Fatal(err)
	}
	return p
}

// plug runs p until the test ends, or unplug is called, and gives how its registration ended.
func (x *three) plug(p *phone.Phone) (unplug func(), err error) {
	x.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	unplug = func() { stop(); <-ended }
	x.t.Cleanup(unplug)
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return unplug, p.Registered(waiting)
}

// located waits until the routing store says that user n is at office.
func (x *three) located(n, at string) {
	x.t.Helper()
	x.eventually(n+" is at "+at, func() error {
		w, err := x.house.Where(x.t.Context(), n, "")
		if err == nil && string(w.At) != at {
			err = fmt.Errorf("is at %q", w.At)
		}
		return err
	})
}

// eventually repeats check until it gives nil, for 5 s at most.
func (x *three) eventually(what string, check func() error) {
	x.t.Helper()
	end := time.Now().Add(5 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			x.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (x *three) pem(name string) string { return filepath.Join(x.dir, name) }

// certificates makes a CA and a certificate for each office.
func (x *three) certificates() {
	x.ca = &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	x.caKey = x.sign("ca", x.ca, x.ca, nil)
	for _, name := range officeNames {
		x.sign(name, &x509.Certificate{
			DNSNames: []string{"sip." + name + ".example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, x.ca, x.caKey)
	}
}

// sign writes name.pem and name.key; key is the signer's, nil for one that signs itself.
func (x *three) sign(name string, cert, by *x509.Certificate, key *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	x.t.Helper()
	mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		x.t.Fatal(err)
	}
	if key == nil {
		key = mine
	}
	cert.SerialNumber, cert.NotBefore, cert.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, by, &mine.PublicKey, key)
	if err != nil {
		x.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(mine)
	if err != nil {
		x.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(x.pem(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
	return mine
}
