//go:build endpoints

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
)

// otherServer is a DHCP server that is none of ours, on the LAN of an office, with addresses of its own.
func (s site) otherServer(t *testing.T, office string) *process {
	t.Helper()
	n, dir := labOrder[office]+1, t.TempDir()
	return startAs(t, []string{"ip", "netns", "exec", s.ns(office), "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--conf-file=/dev/null",
		"--port=0", "--dhcp-authoritative", "--no-ping", "--user=root", "--bind-interfaces", "--interface=br0",
		"--dhcp-leasefile=" + filepath.Join(dir, "leases"), "--pid-file=" + filepath.Join(dir, "pid"),
		fmt.Sprintf("--dhcp-range=10.0.%d.100,10.0.%d.199,255.255.255.0,2m", n, n), fmt.Sprintf("--dhcp-option=option:sip-server,10.0.%d.2", n),
		fmt.Sprintf("--dhcp-range=fd00:%d::100,fd00:%d::1ff,64,2m", n, n), fmt.Sprintf("--dhcp-option=option6:sip-server,[fd00:%d::2]", n),
		"--dhcp-option=option6:sip-server-domain,sip." + office + ".example",
		"--dhcp-range=10.0.4.100,10.0.4.199,255.255.255.0,2m", "--dhcp-range=fd00:4::100,fd00:4::1ff,64,2m"})
}
