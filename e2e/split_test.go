//go:build endpoints

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/routesrv"
)

// pieces is north in three processes, its registrar and two softswitches, and south in one.
type pieces struct {
	t       *testing.T
	base    int
	state   string
	process map[string]*process
}

// parts are the processes of north, by what their directory is called.
var parts = map[string]int{"reg": 0, "sw1": 1, "sw2": 2}

// startPieces makes the files that up --write makes for three offices into those of such an office, and runs them.
func startPieces(t *testing.T) *pieces {
	t.Helper()
	l := &pieces{t: t, base: freeBase(t), state: filepath.Join(t.TempDir(), "split"), process: map[string]*process{}}
	store, err := routesrv.StartEmbedded(fmt.Sprintf("127.0.0.1:%d", l.base+400), "")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); store.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	if out, errs, code := run(t, "", "up", "--write", l.state, "--port-base", fmt.Sprint(l.base), "--redis", fmt.Sprintf("redis://127.0.0.1:%d/0", l.base+400)); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	b, err := os.ReadFile(filepath.Join(l.state, "north", "office.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range parts {
		l.issue(name)
		l.write(name, string(b))
	}
	for _, name := range []string{"reg", "sw1", "sw2", "south"} {
		if name != "south" { // a mistake is told before anything runs
			if out, errs, code := run(t, "", "check", "-c", l.file(name)); code != 0 {
				t.Fatalf("check of %s: exit %d: %s%s", name, code, out, errs)
			}
		}
		l.serve(name)
		l.process[name].ready(l.http(name))
	}
	return l
}

// port is a port of a part: its phones' at 0, its partners' at 7.
func (l *pieces) port(name string, off int) int {
	n, ours := parts[name]
	if !ours {
		return l.base + 100 + off
	}
	return l.base + 10*n + off
}

func (l *pieces) file(name string) string { return filepath.Join(l.state, name, "office.yaml") }

func (l *pieces) http(name string) string {
	if name == "south" {
		return fmt.Sprintf("127.0.0.1:%d", l.base+301)
	}
	return fmt.Sprintf("127.0.0.1:%d", l.base+303+parts[name])
}

// serve runs a part, again after a kill.
func (l *pieces) serve(name string) { l.process[name] = start(l.t, "serve", "-c", l.file(name)) }

// write makes yaml, north's, the file of one of its parts.
func (l *pieces) write(name, yaml string) {
	uri := func(part string) string { return fmt.Sprintf("sip:127.0.0.1:%d;transport=tls", l.port(part, 7)) }
	processes := fmt.Sprintf("processes:\n  registrar: {uri: %q, certificate: reg.north.example}\n  softswitches:\n", uri("reg"))
	for _, sw := range []string{"sw1", "sw2"} {
		processes += fmt.Sprintf("    - {id: north/%s, uri: %q, certificate: %s.north.example, phones: \"sip:127.0.0.1:%d\"}\n", sw[2:], uri(sw), sw, l.port(sw, 0))
	}
	role, listen := "softswitch", fmt.Sprintf("listen: [udp:127.0.0.1:%d, tcp:127.0.0.1:%[1]d]\n", l.port(name, 0))
	if name == "reg" {
		role, listen = "registrar", "listen: []\n"
	}
	replace := func(old, new string) {
		if !strings.Contains(yaml, old) {
			l.t.Fatalf("no %q in\n%s", old, yaml)
		}
		yaml = strings.Replace(yaml, old, new, 1)
	}
	state := filepath.Join(l.state, name)
	replace("roles:\n  - registrar\n  - softswitch\nprocesses: null\n", "roles: ["+role+"]\n"+processes)
	replace(fmt.Sprintf("listen:\n  - udp:127.0.0.1:%d\n  - tcp:127.0.0.1:%[1]d\n", l.base), listen)
	replace("state: "+filepath.Join(l.state, "north")+"\n", "state: "+state+"\n")
	replace(fmt.Sprintf("partner_listen: tls:127.0.0.1:%d", l.base+7), fmt.Sprintf("partner_listen: tls:127.0.0.1:%d", l.port(name, 7)))
	replace(fmt.Sprintf("uri: sip:127.0.0.1:%d;", l.base+7), fmt.Sprintf("uri: sip:127.0.0.1:%d;", l.port(name, 7)))
	replace("/north.pem", "/"+name+".pem")
	replace("/north.key", "/"+name+".key")
	replace(fmt.Sprintf("ports: %d-%d", l.base+500, l.base+699), fmt.Sprintf("ports: %d-%d", l.base+1200+100*parts[name], l.base+1299+100*parts[name]))
	replace(fmt.Sprintf("listen: 127.0.0.1:%d", l.base+300), "listen: "+l.http(name))
	if err := os.MkdirAll(state, 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.file(name), []byte(yaml), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// issue makes the certificate of a part with the CA of up --write: its own name, the office's, and the address dialled.
func (l *pieces) issue(name string) {
	l.t.Helper()
	load := func(file string) []byte {
		b, err := os.ReadFile(filepath.Join(l.state, "tls", file))
		if err != nil {
			l.t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		return block.Bytes
	}
	ca, err1 := x509.ParseCertificate(load("ca.pem"))
	caKey, err2 := x509.ParsePKCS8PrivateKey(load("ca.key"))
	key, err3 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	secret, err4 := x509.MarshalPKCS8PrivateKey(key)
	cert := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name + ".north.example", "sip.north.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err5 := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			l.t.Fatal(err)
		}
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(l.state, "tls", file), pem.EncodeToMemory(block), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
}

// proxy is where baresip finds a part, by TCP: so a call of the phone needs no challenge, nor the registrar for it.
func (l *pieces) proxy(name string) string {
	return fmt.Sprintf("127.0.0.1:%d;transport=tcp", l.port(name, 0))
}

// by waits until the routing store names a part of north, or south, for alice.
func (l *pieces) by(name string) {
	l.t.Helper()
	want := fmt.Sprintf("sip:127.0.0.1:%d;transport=tls", l.port(name, 7))
	eventually(l.t, 2*time.Second, "the location names "+name, func() error {
		if got := redisCLI(l.t, fmt.Sprint(l.base+400), "hget", "roam:loc:{1001@north.example}", "sw"); !strings.Contains(got, want) {
			return fmt.Errorf("got %s, want %s", got, want)
		}
		return nil
	})
}

// TestSplitOffice: baresip registers at one softswitch of an office in three processes, roams to another office and back to
// the other softswitch, with calls and audio both ways at each place; then each process is killed in turn.
func TestSplitOffice(t *testing.T) {
	l := startPieces(t)
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", l.proxy("sw1"))).start()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", l.proxy("sw2"))).start()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", l.proxy("south"))).start()
	for _, p := range []*baresip{alice, bob, carol} {
		p.registered()
	}
	calls := func(at string) {
		talk(t, "the other softswitch -> 1001 at "+at, bob, alice, "sip:1001@north.example", false)
		talk(t, "1001 at "+at+" -> 1002", alice, bob, "sip:1002@north.example", true)
		talk(t, "south -> 1001 at "+at, carol, alice, "sip:1001@north.example", true)
		talk(t, "1001 at "+at+" -> south", alice, carol, "sip:2001@south.example", false)
	}
	l.by("sw1")
	calls("softswitch 1")
	moves := func(to string) {
		alice.kill()
		alice.accounts[0].proxy = l.proxy(to)
		alice.start().registered()
		l.by(to)
	}
	moves("south")
	calls("south")
	moves("sw2")
	talk(t, "south -> 1001 at softswitch 2", carol, alice, "sip:1001@north.example", false)
	moves("sw1")

	up := func(what string, during func()) { // a call between bob by softswitch 2 and carol lives through what happens
		bob.forget()
		carol.forget()
		bob.must("dial", "sip:2001@south.example")
		eventually(t, 8*time.Second, what+": a call is up", func() error {
			if err := bob.inCall(); err != nil {
				return err
			}
			return carol.inCall()
		})
		during()
		time.Sleep(2 * time.Second) // people talking
		if err := bob.inCall(); err != nil {
			t.Errorf("%s: the call: %v", what, err)
		}
		bob.must("hangup", "")
		bob.idle()
		carol.idle()
		if h, g := bob.heard(carol.tone), carol.heard(bob.tone); h < 2*time.Second || g < 2*time.Second {
			t.Errorf("%s: they heard %v and %v, want 2 s", what, h, g)
		}
	}
	up("softswitch 1 is killed", func() {
		l.process["sw1"].kill()
		began := time.Now()
		moves("sw2")
		t.Logf("softswitch 1 killed: 1001 by the other one after %v", time.Since(began).Round(time.Millisecond))
	})
	calls("softswitch 2, the other one dead")
	l.serve("sw1")
	l.process["sw1"].ready(l.http("sw1"))
	moves("sw1")

	agent := newAgent(t, "tcp", fmt.Sprintf("127.0.0.1:%d", l.port("sw1", 0)), "1003@north.example")
	agent.online()
	up("the registrar is killed", func() {
		l.process["reg"].kill()
		agent.online() // a refresh by the flow that has the binding
	})
	calls("softswitch 1, without the registrar")
	stranger := newAgent(t, "tcp", fmt.Sprintf("127.0.0.1:%d", l.port("sw1", 0)), "1003@north.example")
	if res := stranger.register("Contact: " + stranger.contact("")); res.status() != 503 {
		t.Errorf("a new phone without the registrar: got %s, want 503", res.first())
	}
	l.serve("reg")
	l.process["reg"].ready(l.http("reg"))
	moves("sw2")
	calls("softswitch 2, after all")
}
