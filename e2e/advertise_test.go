//go:build endpoints

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The office's router lets in what the office listens on, and nothing else: what is sent to a private address is lost.
const forwarding = `
table ip office {
	chain pre {
		type nat hook prerouting priority dstnat;
		iifname "wan0" udp dport { 5060, 20000-20199 } dnat to 10.9.0.2
		iifname "wan0" tcp dport { 5060, 5067, 8080 } dnat to 10.9.0.2
	}
	chain through {
		type filter hook forward priority filter;
		iifname "wan0" ct status dnat accept
		iifname "wan0" ct state new drop
	}
}`

// inside runs a command in a network namespace, with what it reads.
func inside(t *testing.T, netns, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", netns}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v %s", args, err, out)
	}
}

// knownHosts has names mean addresses until the test ends.
func knownHosts(t *testing.T, lines string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("127.0.0.1 localhost\n"+lines), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(file, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount("/etc/hosts", unix.MNT_DETACH) })
}

// TestOfficeBehindNAT is north in a private network behind a router that forwards its ports: a phone outside and south see
// the router's address in everything, a phone inside north's own, and all hear each other.
func TestOfficeBehindNAT(t *testing.T) {
	knownHosts(t, "198.51.100.2 sip.north.example\n198.51.100.1 sip.south.example\n")
	inside(t, "nat", forwarding, "nft", "-f", "-")
	t.Cleanup(func() { inside(t, "nat", "", "nft", "delete", "table", "ip", "office") })
	redisServer(t, "6391", "198.51.100.1")
	keys := filepath.Join(t.TempDir(), "keys")
	t.Setenv("SSLKEYLOGFILE", keys)
	dir := filepath.Join(t.TempDir(), "offices")
	if out, errs, code := run(t, "", "up", "--write", dir, "--redis", "redis://127.0.0.1:6391/0"); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	edit := func(office string, pairs ...string) (file string) {
		file = filepath.Join(dir, office, "office.yaml")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.NewReplacer(pairs...).Replace(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	north := edit("north", ":127.0.0.1:5060", ":0.0.0.0:5060", "tls:127.0.0.1:5067", "tls:0.0.0.0:5067", "sip:127.0.0.1:5067", "sip:sip.north.example:5067",
		`advertise: ""`, "advertise: 198.51.100.2", "local_networks: []", "local_networks: [10.9.0.0/24]",
		"redis://127.0.0.1:6391", "redis://198.51.100.1:6391", "insecure: false", "insecure: true", "listen: 127.0.0.1:8080", "listen: 10.9.0.2:8080")
	south := edit("south", ":127.0.0.1:5160", ":198.51.100.1:5160", "tls:127.0.0.1:5167", "tls:198.51.100.1:5167", "sip:127.0.0.1:5167", "sip:sip.south.example:5167")
	c := capturing(t, "lan0", "udp or tcp port 5060 or tcp port 5067 or tcp port 5167")
	first := startAs(t, []string{"ip", "netns", "exec", "phone", build(t), "serve", "-c", north})
	start(t, "serve", "-c", south).ready(officeHTTP["south"])
	first.ready("198.51.100.2:8080")

	outside := newBaresip(t, 440, demoAccount("1001", "north.example", "198.51.100.2:5060"))
	outside.iface, outside.listen = "198.51.100.1", "198.51.100.1:0"
	outside.start().registered()
	within := newBaresip(t, 550, demoAccount("1002", "north.example", "10.9.0.2:5060"))
	within.netns, within.iface, within.listen = "nat", "lan0", "10.9.0.1:5062"
	within.start().registered()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", "198.51.100.1:5160"))
	carol.iface, carol.listen = "198.51.100.1", "198.51.100.1:0"
	carol.start().registered()

	talk(t, "inside -> outside", within, outside, "sip:1001@north.example", false)
	talk(t, "outside -> inside", outside, within, "sip:1002@north.example", true)
	talk(t, "outside -> the other office", outside, carol, "sip:2001@south.example", false)
	talk(t, "the other office -> inside", carol, within, "sip:1002@north.example", true)
	stop := strangersRTP(t, "198.51.100.3", "198.51.100.2")
	talk(t, "with a stranger's packets on every port", outside, within, "sip:1002@north.example", false)
	stop()

	c.end()
	if n := metricOf(t, "198.51.100.2:8080", `siproam_media_packets_dropped_total{office="north",reason="source"}`); n < 20 {
		t.Errorf("%v packets of a stranger dropped, want more", n)
	}
	if n := c.count(keys, `ip.src == 198.51.100.3 && frame contains "STRANGER"`); n < 100 {
		t.Errorf("a stranger sent %d packets, want more", n)
	}
	if n := c.count(keys, `ip.src == 198.51.100.2 && frame contains "STRANGER"`); n != 0 {
		t.Errorf("%d packets of a stranger were relayed", n)
	}
	ours := "ip.src == 198.51.100.2 && "
	if n := c.count(keys, ours+"sip && udp"); n < 10 {
		t.Errorf("the phone outside got %d messages, want more", n)
	}
	if n := c.count(keys, ours+"sip && tls"); n < 4 {
		t.Errorf("the other office got %d messages, want more", n)
	}
	if n := c.count(keys, ours+`sip contains "10.9.0."`); n != 0 {
		t.Errorf("a private address in %d messages that went outside", n)
	}
	if n := c.count(keys, ours+`sip contains "198.51.100.2"`); n < 10 {
		t.Errorf("the advertised address in %d messages, want more", n)
	}
	const rtp = "udp.srcport >= 20000 && udp.srcport <= 20199"
	if n := c.count(keys, ours+rtp+" && ip.dsfield.dscp == 46"); n < 200 {
		t.Errorf("%d media packets marked EF, want more", n)
	}
	if n := c.count(keys, ours+rtp+" && ip.dsfield.dscp != 46"); n != 0 {
		t.Errorf("%d media packets not marked EF", n)
	}
	if n := c.count(keys, ours+"sip && ip.dsfield.dscp != 24"); n != 0 {
		t.Errorf("%d messages not marked CS3", n)
	}
}

// strangersRTP sends RTP from another address to every media port until stop.
func strangersRTP(t *testing.T, from, to string) (stop func()) {
	t.Helper()
	if out, err := exec.Command("ip", "addr", "add", from+"/24", "dev", "lan0").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	c, err := net.ListenPacket("udp", from+":0")
	if err != nil {
		t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		packet := append([]byte{0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4}, bytes.Repeat([]byte("STRANGER"), 20)...)
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			packet[3]++
			for port := 20000; port < 20200; port += 2 {
				c.WriteTo(packet, &net.UDPAddr{IP: net.ParseIP(to), Port: port})
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		c.Close()
		exec.Command("ip", "addr", "del", from+"/24", "dev", "lan0").Run()
	}
}

// metricOf reads one metric of an office.
func metricOf(t *testing.T, office, name string) float64 {
	t.Helper()
	r, err := http.Get("http://" + office + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// capturing writes down what goes over an interface, as filter says.
func capturing(t *testing.T, iface, filter string) *capture {
	t.Helper()
	c := &capture{t: t, file: filepath.Join(t.TempDir(), "wire.pcapng")}
	c.cmd = exec.Command("tshark", "-i", iface, "-f", filter, "-w", c.file)
	said := &lockedBuffer{}
	c.cmd.Stdout, c.cmd.Stderr = said, said
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill(); c.cmd.Wait() })
	eventually(t, 10*time.Second, "tshark captures", func() error {
		if i, err := os.Stat(c.file); err != nil || i.Size() == 0 || !strings.Contains(said.String(), "Capturing on") {
			return fmt.Errorf("%v %s", err, said.String())
		}
		return nil
	})
	return c
}

// end ends the capture.
func (c *capture) end() {
	c.cmd.Process.Signal(syscall.SIGINT)
	c.cmd.Wait()
}

// count is how many packets of an ended capture a display filter shows.
func (c *capture) count(keys, show string) int {
	c.t.Helper()
	args := []string{"-r", c.file, "-Y", show, "-o", "tls.keylog_file:" + keys, "-T", "fields", "-e", "frame.number"}
	for _, port := range []string{"5060", "5160"} {
		args = append(args, "-d", "udp.port=="+port+",sip")
	}
	for _, port := range []string{"5067", "5167"} {
		args = append(args, "-d", "tls.port=="+port+",sip", "-d", "tcp.port=="+port+",tls")
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		c.t.Fatalf("tshark -r: %v", err)
	}
	return strings.Count(string(out), "\n")
}
