//go:build endpoints

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestSameExtension: three processes whose extensions are private and the same: north and south each have a 1001, whose
// baresips both sit in west. A baresip of north that dials 1001 talks with north's, one of south with south's; one of
// west, which has no 1001, with nobody. What is forwarded at home is forwarded there, too.
func TestSameExtension(t *testing.T) {
	redisServer(t, "6391")
	patterns := regexp.MustCompile(`(?m)^    "?\dxxx"?: .*\n`)
	o := startOfficesAs(t, "6391", func(text string) string {
		if strings.HasPrefix(text, "user,") { // of accounts
			return strings.Replace(text, "2002,", "1001,,,demo-1001\n2002,", 1) // south's
		}
		text = patterns.ReplaceAllString(text, "")
		text = strings.Replace(text, "  other_offices:\n", "", 1)
		return strings.Replace(text, "  extensions:\n", "  extensions: {\"1xxx\": \"\", \"2xxx\": \"\", \"3xxx\": \"\"}\n", 1)
	})
	north1001 := newBaresip(t, 440, demoAccount("1001", "north.example", westProxy)).start().registered()
	south1001 := newBaresip(t, 550, demoAccount("1001", "south.example", westProxy)).start().registered()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start().registered()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", southProxy)).start().registered()
	dave := newBaresip(t, 1000, demoAccount("3001", "west.example", westProxy)).start().registered()
	talk(t, "1001, dialled in north", bob, north1001, "sip:1001@north.example", false)
	talk(t, "1001, dialled in south", carol, south1001, "sip:1001@south.example", false)
	talk(t, "north's 1001, in full, from west", dave, north1001, "sip:1001@north.example", true)
	talk(t, "south's 1001 dials north's", south1001, north1001, "sip:1001@north.example", false)
	before := dave.said()
	dave.must("dial", "sip:1001@west.example")
	eventually(t, 4*time.Second, "1001, dialled in west, is refused", func() error {
		if said := strings.TrimPrefix(dave.said(), before); !strings.Contains(said, "404") {
			return errors.New(said)
		}
		return nil
	})

	file := filepath.Join(o.dir, "south", "users.csv")
	text, err := os.ReadFile(file)
	if err == nil {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		for i, l := range lines {
			switch {
			case i == 0:
				lines[i] += ",forward.always"
			case strings.HasPrefix(l, "1001,"):
				lines[i] += ",2001"
			default:
				lines[i] += ","
			}
		}
		err = os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, errs, code := run(t, "", "reload", "--state", filepath.Join(o.dir, "south")); code != 0 {
		t.Fatalf("reload: exit %d: %s%s", code, out, errs)
	}
	talk(t, "south's 1001, forwarded, from west", dave, carol, "sip:1001@south.example", false)
}
