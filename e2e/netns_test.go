//go:build endpoints

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// within runs fn in a network namespace, "" for the lab itself. Sockets and processes that fn makes stay in it.
func within(netns string, fn func() error) error {
	if netns == "" {
		return fn()
	}
	done := make(chan error, 1)
	go func() { // the thread is given up: it has left our namespace
		runtime.LockOSThread()
		f, err := os.Open("/run/netns/" + netns)
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

// site is a world of its own: every office in a network namespace with a bridge as its LAN, a router between them and to
// Redis, a desk in each office for phones that stay, and one device that can be plugged in anywhere. N is 1, 2, 3:
//
//	hub     oN 10.0.N.1 each office's WAN, r 10.0.9.1
//	redis   eth0 10.0.9.2
//	office  br0 10.0.N.2: wan, desk, plug
//	deskN   eth0 10.0.N.10, and the ghost 10.0.N.20 once the device has left
//	device  plugN 10.0.N.20, down unless plugged in
type site struct{ name string }

// ns is the namespace of a host of the site: "hub", "redis", "device", an office, or "desk-" and an office.
func (s site) ns(host string) string { return s.name + "-" + host }

// lan is an address in an office's LAN.
func lan(office string, host int) string { return fmt.Sprintf("10.0.%d.%d", labOrder[office]+1, host) }

// The hosts of a LAN.
const (
	routerHost = 1
	officeHost = 2
	deskHost   = 10
	deviceHost = 20
)

const redisAt = "10.0.9.2:6379"

// newSite makes the namespaces; all of them go with the lab.
func newSite(name string) (site, error) {
	s := site{name}
	add := ""
	for _, host := range s.hosts() {
		add += "netns add " + s.ns(host) + "\n"
	}
	wire := func(a, ifa, b, ifb string) {
		add += fmt.Sprintf("link add %s netns %s type veth peer name %s netns %s\n", ifa, s.ns(a), ifb, s.ns(b))
	}
	wire("hub", "r", "redis", "eth0")
	lines := map[string]string{
		"hub":    "link set lo up\naddr add 10.0.9.1/24 dev r\nlink set r up\n",
		"redis":  "link set lo up\naddr add 10.0.9.2/24 dev eth0\nlink set eth0 up\nroute add default via 10.0.9.1\n",
		"device": "link set lo up\n",
	}
	for o, i := range labOrder {
		wire("hub", fmt.Sprintf("o%d", i+1), o, "wan")
		wire(o, "desk", "desk-"+o, "eth0")
		wire(o, "plug", "device", fmt.Sprintf("plug%d", i+1))
		lines["hub"] += fmt.Sprintf("addr add %s/24 dev o%d\nlink set o%d up\n", lan(o, routerHost), i+1, i+1)
		// Without an address of its own a bridge takes the least of its ports', another one with a cable more.
		lines[o] = fmt.Sprintf("link set lo up\nlink add br0 address 02:00:00:00:00:%02x type bridge forward_delay 0\n", i+1)
		for _, port := range []string{"wan", "desk", "plug"} {
			lines[o] += fmt.Sprintf("link set %s master br0\nlink set %s up\n", port, port)
		}
		lines[o] += fmt.Sprintf("addr add %s/24 dev br0\nlink set br0 up\nroute add default via %s\n", lan(o, officeHost), lan(o, routerHost))
		lines["desk-"+o] = fmt.Sprintf("link set lo up\naddr add %s/24 dev eth0\nlink set eth0 up\n", lan(o, deskHost))
		lines["device"] += fmt.Sprintf("addr add %s/24 dev plug%d\n", lan(o, deviceHost), i+1)
	}
	if err := feed(add, "ip", "-batch", "-"); err != nil {
		return s, err
	}
	for host, text := range lines {
		if err := feed(text, "ip", "-n", s.ns(host), "-batch", "-"); err != nil {
			return s, err
		}
	}
	return s, within(s.ns("hub"), func() error { return feed("", "sysctl", "-qw", "net.ipv4.ip_forward=1") })
}

// hosts is every host of the site.
func (s site) hosts() []string {
	all := []string{"hub", "redis", "device"}
	for o := range labOrder {
		all = append(all, o, "desk-"+o)
	}
	return all
}

// feed runs a program with its standard input; what it says is its error.
func feed(stdin, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

// plug plugs the device into an office's LAN, or pulls its cable; the address stays where it was given.
func (s site) plug(office string, in bool) error {
	state := "down"
	if in {
		state = "up"
	}
	return feed("", "ip", "-n", s.ns("device"), "link", "set", fmt.Sprintf("plug%d", labOrder[office]+1), state)
}

// haunt gives the address that the device had in an office to the desk there, so that what is still sent to it is seen.
func (s site) haunt(office string) error {
	if err := feed("", "ip", "-n", s.ns("desk-"+office), "addr", "add", lan(office, deviceHost)+"/32", "dev", "eth0"); err != nil {
		return err
	}
	return feed("", "ip", "-n", s.ns(office), "neigh", "flush", "dev", "br0")
}

// exorcise takes it back.
func (s site) exorcise(office string) error {
	if err := feed("", "ip", "-n", s.ns("desk-"+office), "addr", "del", lan(office, deviceHost)+"/32", "dev", "eth0"); err != nil {
		return err
	}
	return feed("", "ip", "-n", s.ns(office), "neigh", "flush", "dev", "br0")
}

// drop has the router drop everything that goes between a and b, offices or "redis".
func (s site) drop(a, b string) error {
	return s.filter("hub", "forward", fmt.Sprintf("iifname %s oifname %s drop\niifname %s oifname %s drop\n", line(a), line(b), line(b), line(a)))
}

// line is the router's interface towards an office or "redis".
func line(to string) string {
	if to == "redis" {
		return "r"
	}
	return fmt.Sprintf("o%d", labOrder[to]+1)
}

// lose loses percent of all packets on an office's WAN, and on the cable between it and the device.
func (s site) lose(office string, percent int) error {
	dice := fmt.Sprintf("numgen random mod 100 < %d drop\n", percent)
	if err := s.filter("hub", "forward", "iifname "+line(office)+" "+dice+"oifname "+line(office)+" "+dice); err != nil {
		return err
	}
	if err := s.filter("device", "input", dice); err != nil {
		return err
	}
	return s.filter(office, "input", "ip saddr "+lan(office, deviceHost)+" "+dice)
}

// filter adds rules to a host's table of faults.
func (s site) filter(host, hook, rules string) error {
	text := "table inet fault { chain f { type filter hook " + hook + " priority 0; }; }\n"
	for rule := range strings.Lines(rules) {
		text += "add rule inet fault f " + rule
	}
	return within(s.ns(host), func() error { return feed(text, "nft", "-f", "-") })
}

// mend takes all rules away.
func (s site) mend() {
	for _, host := range s.hosts() {
		within(s.ns(host), func() error { return feed("table inet fault\ndelete table inet fault\n", "nft", "-f", "-") })
	}
}
