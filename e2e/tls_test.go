//go:build endpoints

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// listenToo adds a listener for phones to one office of o, which must not run yet.
func listenToo(t *testing.T, dir, office, listener string) {
	t.Helper()
	path := filepath.Join(dir, office, "office.yaml")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(old, []byte("\nlisten:\n"), []byte("\nlisten:\n  - "+listener+"\n"), 1)
	if bytes.Equal(changed, old) {
		t.Fatalf("%s: no listen: in\n%s", path, old)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPhonesOverTLS is a baresip that speaks TLS and checks the office's certificate: alice of north visits south with it.
func TestPhonesOverTLS(t *testing.T) {
	redisServer(t, "6391")
	dir := filepath.Join(t.TempDir(), "three")
	if out, errs, code := run(t, "", "up", "--write", dir, "--redis", "redis://127.0.0.1:6391/0"); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	listenToo(t, dir, "south", "tls:127.0.0.1:5161")
	o := &offices{dir: dir, process: map[string]*process{}}
	for name := range officeHTTP {
		o.start(t, name)
	}
	for name := range officeHTTP {
		o.process[name].ready(officeHTTP[name])
	}
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", "127.0.0.1:5161;transport=tls"))
	alice.more = []string{"sip_cafile " + filepath.Join(dir, "tls", "ca.pem"), "sip_verify_server yes"}
	alice.start().registered()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start().registered()
	talk(t, "north, UDP -> 1001, TLS at south", bob, alice, "sip:1001@north.example", true)
	talk(t, "1001, TLS at south -> north, UDP", alice, bob, "sip:1002@north.example", false)
}
