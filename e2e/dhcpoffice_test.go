//go:build endpoints

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
)

// dhcpOffice is an office of a site that is the DHCP server of its LAN, alone with its own routing store.
type dhcpOffice struct {
	*process
	t   *testing.T
	ns  string
	dir string
}

// dhcpYAML is the section of an office at its site: leases of two minutes in 10.0.N.100 to 199 and fd00:N::100 to 1ff. North has the
// branch behind the relay as well.
func dhcpYAML(office string) string {
	text := `dhcp:
  mode: server
  interfaces: [br0]
  lease: {time: 2m}
  subnets:
`
	numbers := []int{labOrder[office] + 1}
	if office == "north" {
		numbers = append(numbers, 4)
	}
	for _, n := range numbers {
		text += fmt.Sprintf("    - {network: 10.0.%d.0/24, router: 10.0.%[1]d.1, pools: [10.0.%[1]d.100-10.0.%[1]d.199], exclude: [10.0.%[1]d.150]}\n", n)
		text += fmt.Sprintf("    - {network: \"fd00:%d::/64\", pools: [\"fd00:%[1]d::100-fd00:%[1]d::1ff\"]}\n", n)
	}
	return text
}

// dhcpOffice writes an office with a DHCP section on a host of the site; at is where its phones find it.
func (s site) dhcpOffice(t *testing.T, host, name, section string, at ...string) *dhcpOffice {
	t.Helper()
	o := &dhcpOffice{t: t, ns: s.ns(host), dir: t.TempDir()}
	must(t, os.WriteFile(o.file(), []byte(fmt.Sprintf(`office: %s
domain: %[1]s.example
roles: [registrar, softswitch, dhcp]
state: %s
listen: ["udp:%s"]
routes: {redis: embedded}
http: {listen: "127.0.0.1:8080"}
`, name, filepath.Join(o.dir, "state"), strings.Join(at, `", "udp:`))+section), 0o600))
	must(t, os.Mkdir(filepath.Join(o.dir, "state"), 0o700))
	t.Cleanup(func() { // when it has ended
		if o.process != nil && strings.Contains(o.out.String(), "office.stuck") {
			t.Errorf("a part did not stop in time:\n%s", tail(o.out.String(), 1000))
		}
	})
	return o
}

func (o *dhcpOffice) file() string { return filepath.Join(o.dir, "office.yaml") }

// start starts it, again after its end, and waits until it serves.
func (o *dhcpOffice) start() *dhcpOffice {
	o.t.Helper()
	o.launch()
	eventually(o.t, 20*time.Second, "the office serves", func() error {
		select {
		case <-o.ended:
			o.t.Fatalf("it has ended:\n%s", tail(o.out.String(), 4000))
		default:
		}
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		c, err := office.Dial(filepath.Join(o.dir, "state"))
		if err != nil {
			return err
		}
		if err := c.Ask(ctx, "GET", "/health", nil, nil, nil); err != nil {
			return err
		}
		if !strings.Contains(o.out.String(), "dhcp.serve") && !strings.Contains(o.out.String(), "DHCP serves") {
			return fmt.Errorf("DHCP does not serve yet")
		}
		return nil
	})
	return o
}

// launch starts it and does not wait.
func (o *dhcpOffice) launch() {
	o.t.Helper()
	o.process = startAs(o.t, []string{"ip", "netns", "exec", o.ns, build(o.t), "serve", "-c", o.file()})
}

// resident is the memory that the process has, in MiB.
func (o *dhcpOffice) resident() int {
	o.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", o.cmd.Process.Pid))
	must(o.t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			must(o.t, err)
			return kib / 1024
		}
	}
	o.t.Fatal("no VmRSS")
	return 0
}

// wide gives a site's north one large LAN in place of its own, for many clients: 10.128.0.2/16.
func (s site) wide(t *testing.T) {
	t.Helper()
	must(t, feed("addr del 10.0.1.2/24 dev br0\naddr add 10.128.0.2/16 dev br0\n", "ip", "-n", s.ns("north"), "-batch", "-"))
}

// wideYAML is its section, with pool and more lines of it.
func wideYAML(pool string, more ...string) string {
	return "dhcp:\n  mode: server\n  interfaces: [br0]\n  lease: {time: 1h}\n  subnets: [{network: 10.128.0.0/16, router: 10.128.0.1, pools: [" + pool + "]}]\n  " +
		strings.Join(more, "\n  ") + "\n"
}
