//go:build endpoints

package e2e

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSoftphoneByDomain is a baresip that knows the domain north.example and no address of any office. With south's name server it
// is a visitor of south, and calls and is called there; with north's it is at home.
func TestSoftphoneByDomain(t *testing.T) {
	redisServer(t, "6391")
	o := startOfficesAs(t, "6391", func(text string) string {
		at := map[bool]string{true: "127.0.0.1:53"}[strings.Contains(text, "domain: north.example")]
		if strings.Contains(text, "domain: south.example") {
			at = "127.0.0.2:53" // in another network the name server has another address, as the softswitch
			text = strings.ReplaceAll(text, "127.0.0.1:5160", "127.0.0.2:5160")
		}
		return strings.Replace(text, "nameserver:\n  listen: []\n  networks: []", "nameserver:\n  listen: ["+at+"]\n  networks: [127.0.0.0/8]", 1)
	})
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start().registered()
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", ""))
	for _, c := range []struct{ server, office string }{{"127.0.0.2:53", "south"}, {"127.0.0.1:53", "north"}} {
		alice.kill()
		eventually(t, 10*time.Second, c.office+" answers for north.example", func() error {
			r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, c.server)
			}}
			_, _, err := r.LookupSRV(t.Context(), "sip", "udp", "north.example")
			return err
		})
		alice.more = []string{"dns_server " + c.server}
		alice.start().registered()
		if c.office == "south" {
			talk(t, "in south, called there", bob, alice, "sip:1001@north.example", false)
		}
		located(t, filepath.Join(o.dir, "north"), "1001", c.office, 5*time.Second)
	}
	talk(t, "at home, by domain name alone", alice, bob, "sip:1002@north.example", false)
}
