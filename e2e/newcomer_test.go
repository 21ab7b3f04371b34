//go:build endpoints

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newcomer is a device out of the box: a namespace of its own with an interface eth0 that has no address, and whose
// cable fits anywhere. A cable that is pulled takes the carrier away, as a switch's port does.
type newcomer struct {
	site site
	host string // eth0 is its interface
	mac  string
	port string // other end of its cable
	at   string // host whose bridge the cable is plugged into; "": none
}

// newcomer makes a device; it goes with the lab.
func (s site) newcomer(t *testing.T, name string, number int) *newcomer {
	t.Helper()
	n := &newcomer{site: s, host: name, port: fmt.Sprintf("port%d", number), mac: fmt.Sprintf("02:00:5e:00:53:%02x", number), at: name}
	ns := s.ns(name)
	must(t, feed("", "ip", "netns", "add", ns))
	t.Cleanup(func() { feed("", "ip", "netns", "del", ns) })
	must(t, feed(fmt.Sprintf("link set lo up\nlink add eth0 address %s type veth peer name %s\n", n.mac, n.port), "ip", "-n", ns, "-batch", "-"))
	must(t, within(ns, func() error { // its own address needs no proof: that takes a second
		return feed("", "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
	}))
	must(t, feed("", "ip", "-n", ns, "link", "set", "eth0", "up"))
	return n
}

// ns is the device's namespace.
func (n *newcomer) ns() string { return n.site.ns(n.host) }

// plug pulls the cable and plugs it into the bridge of another host.
func (n *newcomer) plug(t *testing.T, host string) {
	t.Helper()
	n.pull(t)
	bridge := "br0"
	if host == "hub" {
		bridge = "branch"
	}
	must(t, feed("", "ip", "-n", n.ns(), "link", "set", n.port, "netns", n.site.ns(host)))
	n.at = host
	must(t, feed(fmt.Sprintf("link set %s master %s\nlink set %s up\n", n.port, bridge, n.port), "ip", "-n", n.site.ns(host), "-batch", "-"))
}

// pull pulls the cable.
func (n *newcomer) pull(t *testing.T) {
	t.Helper()
	if n.at != n.host {
		must(t, feed("", "ip", "-n", n.site.ns(n.at), "link", "set", n.port, "netns", n.ns()))
		n.at = n.host
	}
}

// six gives every office's LAN an IPv6 prefix, fd00:N::/64, with the router and the office's own host at the same numbers
// as their IPv4 addresses.
func (s site) six(t *testing.T) {
	t.Helper()
	for o, i := range labOrder {
		must(t, feed(fmt.Sprintf("addr add fd00:%d::1/64 dev o%d nodad\n", i+1, i+1), "ip", "-n", s.ns("hub"), "-batch", "-"))
		must(t, feed(fmt.Sprintf("addr add fd00:%d::2/64 dev br0 nodad\nroute add default via fd00:%d::1\n", i+1, i+1), "ip", "-n", s.ns(o), "-6", "-batch", "-"))
	}
	must(t, within(s.ns("hub"), func() error { return feed("", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1") }))
}

// branch is a LAN of north behind the router, 10.0.4.0/24 and fd00:4::/64: what is plugged in there reaches a DHCP server by the
// router's relay alone.
func (s site) branch(t *testing.T) {
	t.Helper()
	must(t, feed("link add branch address 02:00:00:00:00:04 type bridge forward_delay 0\naddr add 10.0.4.1/24 dev branch\naddr add fd00:4::1/64 dev branch nodad\nlink set branch up\n",
		"ip", "-n", s.ns("hub"), "-batch", "-"))
	for _, args := range [][]string{
		{"dhcrelay", "-4", "-d", "-a", "-m", "replace", "-pf", "/run/dhcrelay.pid", "-id", "branch", "-iu", "o1", lan("north", officeHost)},
		{"dhcrelay", "-6", "-d", "-I", "-pf", "/run/dhcrelay6.pid", "-l", "branch", "-u", "fd00:1::2%o1"},
	} {
		relay := startAs(t, append([]string{"ip", "netns", "exec", s.ns("hub")}, args...))
		t.Cleanup(relay.kill) // it heeds no SIGTERM
		eventually(t, 5*time.Second, "the relay listens", func() error {
			if !strings.Contains(relay.out.String(), "Socket/") {
				return fmt.Errorf("it says %q", relay.out.String())
			}
			return nil
		})
	}
}

// must fails the test with an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// told is what a DHCP client tells its script: event, and names to values as that client has them.
type told map[string]string

// dhcpClient is a DHCP client of a device.
type dhcpClient struct {
	t       *testing.T
	on      *newcomer
	dir     string // its files
	run     *process
	seen    int // events read
	program string
}

// dhclientConf asks for what dhclient does not know by name.
const dhclientConf = `option sip-servers code 120 = string;
option provisioning code 160 = text;
timeout 10;
retry 2;
initial-interval 1;
reboot 3;
request subnet-mask, routers, domain-name-servers, domain-name, ntp-servers, sip-servers, tftp-server-name, provisioning;
also request dhcp6.sip-servers-addresses, dhcp6.sip-servers-names;
`

// dhcpcdConf is a phone's: no proof of an address with ARP, which takes seconds, and DHCPv6 without waiting for a router.
const dhcpcdConf = `define 66 string tftp_url
define 160 string provisioning
duid
noarp
nodelay
noipv4ll
noipv6rs
timeout 10
reboot 3
option subnet_mask, routers, domain_name_servers, domain_name, sip_server, tftp_url, provisioning
option dhcp6_sip_servers_names, dhcp6_sip_servers_addresses
`

// dhcpClients is how each is started; "6" is of IPv6. DIR stands for the client's directory. All run in the foreground.
var dhcpClients = map[string][]string{
	"udhcpc":    {"udhcpc", "-f", "-i", "eth0", "-t", "5", "-T", "1", "-A", "1", "-O", "sipsrv", "-O", "tftp", "-O", "160", "-s", "DIR/event"},
	"dhclient":  {"dhclient", "-4", "-d", "-cf", "DIR/dhclient.conf", "-lf", "DIR/leases", "-pf", "DIR/pid", "-sf", "DIR/event", "-e", "EVENTS=DIR/events", "eth0"},
	"dhclient6": {"dhclient", "-6", "-d", "-cf", "DIR/dhclient.conf", "-lf", "DIR/leases", "-pf", "DIR/pid", "-sf", "DIR/event", "-e", "EVENTS=DIR/events", "eth0"},
	"dhcpcd":    {"dhcpcd", "-B", "-d", "-4", "-f", "DIR/dhcpcd.conf", "-c", "DIR/event", "-e", "EVENTS=DIR/events", "eth0"},
	"dhcpcd6":   {"dhcpcd", "-B", "-d", "-6", "-f", "DIR/dhcpcd.conf", "-c", "DIR/event", "-e", "EVENTS=DIR/events", "eth0"},
}

// client prepares a client of a device.
func (n *newcomer) client(t *testing.T, program string) *dhcpClient {
	t.Helper()
	c := &dhcpClient{t: t, on: n, program: program, dir: t.TempDir()}
	event, err := os.ReadFile("testdata/dhcp-event")
	must(t, err)
	six := ""
	if program == "dhcpcd6" {
		six = "interface eth0\nia_na 1\n"
	}
	for name, text := range map[string]string{"dhclient.conf": dhclientConf, "dhcpcd.conf": dhcpcdConf + six, "event": string(event), "events": "", "leases": ""} {
		must(t, os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o755))
	}
	must(t, os.MkdirAll(filepath.Join(c.dir, "var"), 0o755))
	return c
}

// start starts the client, again with what it remembers.
func (c *dhcpClient) start() *dhcpClient {
	c.t.Helper()
	c.run = startAs(c.t, c.command(dhcpClients[c.program]...))
	return c
}

// stop ends the client as a power cut does, once dhclient has written down its lease: it tells its script before.
func (c *dhcpClient) stop() {
	c.t.Helper()
	if c.program == "dhclient" {
		eventually(c.t, 5*time.Second, "dhclient has kept its lease", func() error {
			if !strings.Contains(c.run.out.String(), "bound to ") {
				return fmt.Errorf("it says %q", tail(c.run.out.String(), 200))
			}
			return nil
		})
	}
	c.run.kill()
}

// gone waits until the client has ended by itself.
func (c *dhcpClient) gone() {
	c.t.Helper()
	select {
	case <-c.run.ended:
	case <-time.After(5 * time.Second):
		c.t.Fatalf("%s has not ended: %s", c.program, tail(c.run.out.String(), 500))
	}
}

// command is a command line in the device, where the client's memory is its own: all dhcpcds of a machine share two directories.
func (c *dhcpClient) command(args ...string) []string {
	line := strings.ReplaceAll(strings.Join(args, " "), "DIR", c.dir)
	shell := fmt.Sprintf("mount --bind %s/var /var/lib/dhcpcd 2>/dev/null; mount -t tmpfs tmpfs /run; export EVENTS=%s/events; exec %s", c.dir, c.dir, line)
	return []string{"ip", "netns", "exec", c.on.ns(), "sh", "-c", shell}
}

// once runs a command of the client's to its end.
func (c *dhcpClient) once(args ...string) {
	c.t.Helper()
	line := c.command(args...)
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		c.t.Fatalf("%v: %v: %s", args, err, out)
	}
}

// signal tells the client to do something, until it tells that it has: a signal that comes in the midst of another event is lost.
func (c *dhcpClient) signal(what syscall.Signal, events string) (e told) {
	c.t.Helper()
	var sent time.Time
	eventually(c.t, 8*time.Second, c.program+" told by a signal", func() error {
		if time.Since(sent) > time.Second {
			sent = time.Now()
			c.run.cmd.Process.Signal(what) // it may have ended by then
		}
		var found bool
		if e, found = c.next(events); !found {
			return fmt.Errorf("no %s", events)
		}
		return nil
	})
	return e
}

// events is all that the client has told.
func (c *dhcpClient) events() (all []told) {
	text, _ := os.ReadFile(filepath.Join(c.dir, "events"))
	for block := range strings.SplitSeq(string(text), "\n\n") {
		e := told{}
		for line := range strings.Lines(block) {
			if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
				e[name] = value
			}
		}
		if len(e) > 0 {
			all = append(all, e)
		}
	}
	return all
}

// next is the first event not yet seen that is one of these, words with blanks between.
func (c *dhcpClient) next(events string) (e told, found bool) {
	all := c.events()
	for i := c.seen; i < len(all); i++ {
		if strings.Contains(" "+events+" ", " "+all[i]["event"]+" ") {
			c.seen = i + 1
			return all[i], true
		}
	}
	return nil, false
}

// waits waits for it.
func (c *dhcpClient) waits(events string, limit time.Duration) (e told) {
	c.t.Helper()
	eventually(c.t, limit, c.program+" tells "+events, func() error {
		var found bool
		if e, found = c.next(events); !found {
			return fmt.Errorf("told %v", c.events()[c.seen:])
		}
		return nil
	})
	return e
}

// The names of what clients tell.
var (
	toldAddress = []string{"ip", "new_ip_address", "new_ip6_address", "new_dhcp6_ia_na1_ia_addr1"}
	toldSIP     = []string{"sipsrv", "new_sip_server", "new_sip_servers", "new_dhcp6_sip_servers_addresses"}
	toldURL     = []string{"new_tftp_url", "new_tftp_server_name"} // udhcpc takes a name alone, no URL
	told160     = []string{"opt160", "new_provisioning"}
)

// says is the value of the first of names that was told.
func (e told) says(names []string) string {
	for _, name := range names {
		if v := e[name]; v != "" {
			return v
		}
	}
	return ""
}
