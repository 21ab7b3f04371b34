//go:build endpoints

package e2e

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// TestDHCPClients has every DHCP client that we know of get its address and the office's softswitches (option 120; 21 and 22
// by IPv6), on the office's LAN and through a relay; renew, release, and come back in another office with the old address.
func TestDHCPClients(t *testing.T) {
	s, err := newSite("clients")
	must(t, err)
	s.six(t)
	s.branch(t)
	for _, office := range []string{"north", "south"} {
		s.dhcpOffice(t, office, office, dhcpYAML(office), lan(office, officeHost)+":5060", fmt.Sprintf("[fd00:%d::2]:5060", labOrder[office]+1)).start()
	}
	number := 0
	for _, program := range []string{"udhcpc", "dhclient", "dhcpcd", "dhclient6", "dhcpcd6"} {
		for _, where := range []string{"north", "hub"} {
			number++
			n := s.newcomer(t, fmt.Sprintf("%s-%s", program, where), number)
			t.Run(program+map[string]string{"north": " directly", "hub": " through a relay"}[where], func(t *testing.T) {
				t.Parallel()
				n.plug(t, where)
				c := n.client(t, program).start()
				c.stays(where)
				c.leaves("south")
			})
		}
	}
}

// stays has the client get an address where it is, renew and release it, and get it again.
func (c *dhcpClient) stays(where string) {
	got := c.bound(where)
	same := func(what string, e told) {
		if again := e.says(toldAddress); again != got {
			c.t.Errorf("%s: got %s, want %s", what, again, got)
		}
	}
	switch c.program {
	case "udhcpc":
		same("renewed", c.signal(syscall.SIGUSR1, "renew"))
		c.signal(syscall.SIGUSR2, "deconfig")
		same("again after a release", c.signal(syscall.SIGUSR1, "bound"))
		return
	case "dhcpcd":
		same("renewed", c.signal(syscall.SIGUSR1, "RENEW"))
		c.signal(syscall.SIGALRM, "RELEASE STOP STOPPED EXPIRE")
		c.gone()
		c.start()
	case "dhcpcd6":
		same("renewed", c.signal(syscall.SIGUSR1, "RENEW6"))
		c.signal(syscall.SIGALRM, "RELEASE6 STOP6 STOPPED EXPIRE6")
		c.gone()
		c.start()
	case "dhclient", "dhclient6":
		six := map[string]string{"dhclient": "-4", "dhclient6": "-6"}[c.program]
		c.stop()
		c.start()
		same("rebooted", c.waits("REBOOT BOUND6", 5*time.Second))
		c.stop()
		c.once("dhclient", six, "-r", "-cf", "DIR/dhclient.conf", "-lf", "DIR/leases", "-pf", "DIR/none", "-sf", "DIR/event", "-e", "EVENTS=DIR/events", "eth0")
		c.waits("RELEASE RELEASE6", 5*time.Second)
		c.start()
	}
	if again := c.bound(where); again != got {
		c.t.Errorf("again after a release: got %s, want %s", again, got)
	}
}

// leaves pulls the cable and plugs it in in another office: the client asks for the address it has, is refused, and gets one of that
// office. dhcpcd sees the cable; the others are started again. udhcpc remembers nothing and begins anew.
func (c *dhcpClient) leaves(office string) {
	c.t.Helper()
	if c.program != "dhcpcd" && c.program != "dhcpcd6" {
		c.stop()
	}
	c.on.plug(c.t, office)
	switch c.program {
	case "dhcpcd":
		c.waits("NAK", 5*time.Second)
	case "dhclient":
		c.start()
		c.waits("EXPIRE", 5*time.Second)
	case "udhcpc", "dhclient6":
		c.start()
	}
	c.bound(office)
}

// bound waits until the client has an address of the LAN at host, and has been told where the office's softswitch is.
func (c *dhcpClient) bound(host string) string {
	c.t.Helper()
	e := c.waits("bound BOUND BOUND6 REBOOT", 10*time.Second)
	number := map[string]int{"south": 2}[host]
	if number == 0 {
		number = 1
	}
	lans := map[string]string{"north": "10.0.1.0/24", "south": "10.0.2.0/24", "hub": "10.0.4.0/24"}
	sip := fmt.Sprintf("10.0.%d.2", number)
	switch c.program {
	case "dhclient":
		sip = fmt.Sprintf("1:a:0:%d:2", number)
	case "dhclient6", "dhcpcd6":
		lans = map[string]string{"north": "fd00:1::/64", "south": "fd00:2::/64", "hub": "fd00:4::/64"}
		sip = fmt.Sprintf("fd00:%d::2", number)
	}
	got := e.says(toldAddress)
	if a, err := netip.ParseAddr(got); err != nil || !netip.MustParsePrefix(lans[host]).Contains(a) {
		c.t.Fatalf("%s: got address %q, want one of %s: %v", c.program, got, lans[host], e)
	}
	if s := e.says(toldSIP); s != sip {
		c.t.Errorf("%s: got softswitch %q, want %q: %v", c.program, s, sip, e)
	}
	return got
}
