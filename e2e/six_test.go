//go:build endpoints

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIPv6Phones are baresips on ::1 and on 127.0.0.1 at offices that listen on both, or on [::]; the offices reach each
// other by IPv6.
func TestIPv6Phones(t *testing.T) {
	knownHosts(t, "::1 sip.north.example\n::1 sip.south.example\n")
	redisServer(t, "6391")
	dir := filepath.Join(t.TempDir(), "offices")
	if out, errs, code := run(t, "", "up", "--write", dir, "--redis", "redis://127.0.0.1:6391/0"); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	for office, pairs := range map[string][]string{
		"north": {"  - udp:127.0.0.1:5060\n", "  - udp:127.0.0.1:5060\n  - udp:[::1]:5060\n", "tls:127.0.0.1", "tls:[::1]", "sip:127.0.0.1", "sip:sip.north.example"},
		"south": {":127.0.0.1:5160", ":[::]:5160", "tls:127.0.0.1", "tls:[::1]", "sip:127.0.0.1", "sip:sip.south.example"},
	} {
		file := filepath.Join(dir, office, "office.yaml")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.NewReplacer(pairs...).Replace(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
		start(t, "serve", "-c", file).ready(officeHTTP[office])
	}
	six := func(hz float64, number, domain, proxy string) *baresip {
		b := newBaresip(t, hz, demoAccount(number, domain, proxy))
		b.six, b.iface, b.listen = true, "::1", "[::1]:0"
		return b.start().registered()
	}
	alice, bob := six(440, "1001", "north.example", "[::1]:5060"), six(550, "1002", "north.example", "[::1]:5060")
	four := newBaresip(t, 770, demoAccount("1003", "north.example", northProxy)).start().registered()
	carol := six(660, "2001", "south.example", "[::1]:5160")
	dave := newBaresip(t, 880, demoAccount("2002", "south.example", southProxy)).start().registered()
	talk(t, "IPv6 -> IPv6", alice, bob, "sip:1002@north.example", false)
	talk(t, "IPv6 -> IPv4", alice, four, "sip:1003@north.example", true)
	talk(t, "IPv4 -> IPv6 on one socket", dave, carol, "sip:2001@south.example", false)
	talk(t, "IPv4 -> IPv6 at the other office", four, carol, "sip:2001@south.example", true)
}
