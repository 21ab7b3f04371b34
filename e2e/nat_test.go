//go:build endpoints

package e2e

import (
	"path/filepath"
	"testing"
)

// TestStockPhone is a baresip as installed: no net_interface line, so that it signals from the LAN
// address of this machine and sends RTP from 127.0.0.1. Both are this machine.
func TestStockPhone(t *testing.T) {
	up := start(t, "up", "--state", filepath.Join(t.TempDir(), "up"))
	up.ready(upHTTP)
	stock := newBaresip(t, 440, demoAccount("1001", "north.example", southProxy))
	stock.iface, stock.listen = "", ""
	stock.start().registered()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", southProxy)).start().registered()
	talk(t, "carol -> stock baresip", carol, stock, "sip:1001@north.example", false)
	talk(t, "stock baresip -> carol", stock, carol, "sip:2001@south.example", false)
}

// TestBehindMasquerade is a phone in a private network behind a router that rewrites its address.
func TestBehindMasquerade(t *testing.T) {
	state := filepath.Join(t.TempDir(), "up")
	up := start(t, "up", "--state", state, "--addr", "198.51.100.1")
	up.ready(upHTTP)
	password := accountsFile(t, state)
	far := newBaresip(t, 440, account{aor: "sip:1001@north.example", login: "1001", password: password["1001"], proxy: "198.51.100.1:5160"})
	far.netns, far.iface, far.listen = "phone", "eth0", "10.9.0.2:5060"
	far.start().registered()
	carol := newBaresip(t, 660, account{aor: "sip:2001@south.example", login: "2001", password: password["2001"], proxy: "198.51.100.1:5160"})
	carol.iface, carol.listen = "198.51.100.1", "198.51.100.1:0"
	carol.start().registered()
	talk(t, "carol -> behind the router", carol, far, "sip:1001@north.example", false)
	talk(t, "behind the router -> carol", far, carol, "sip:2001@south.example", true)
}

// TestTwoUsersOnePort is one baresip with two accounts: two users behind one IP and port.
func TestTwoUsersOnePort(t *testing.T) {
	up := start(t, "up", "--state", filepath.Join(t.TempDir(), "up"))
	up.ready(upHTTP)
	both := newBaresip(t, 440, demoAccount("1001", "north.example", southProxy), demoAccount("1003", "north.example", southProxy)).start().registered()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", southProxy)).start().registered()
	for _, user := range []string{"1001", "1003"} {
		both.must("uafind", "sip:"+user+"@north.example") // whose calls baresip lists, and who dials
		talk(t, "carol -> "+user+" of two", carol, both, "sip:"+user+"@north.example", false)
		talk(t, user+" of two -> carol", both, carol, "sip:2001@south.example", false)
	}
}
