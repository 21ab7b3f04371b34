package provision

import (
	"strings"
	"testing"
)

func TestParseMAC(t *testing.T) {
	for text, want := range map[string]string{
		"001565a1b2c3": "001565a1b2c3", "00:15:65:A1:B2:C3": "001565a1b2c3", "00-15-65-a1-b2-c3": "001565a1b2c3", "0015.65a1.b2c3": "001565a1b2c3",
		"": "", "001565a1b2c": "", "001565a1b2c3d": "", "001565a1b2cg": "", "00 15 65 a1 b2 c3": "", "٠٠1565a1b2c3": "",
	} {
		m, ok := ParseMAC(text)
		if ok != (want != "") || ok && m.String() != want {
			t.Errorf("%q: got %s, %v", text, m, ok)
		}
	}
}

func TestMACIn(t *testing.T) {
	for text, want := range map[string]string{
		"001565A1B2C3": "001565a1b2c3", "00:15:65:A1:B2:C3": "001565a1b2c3", "SEP001565A1B2C3": "001565a1b2c3", "CP-8841-SEP001565a1b2c3": "001565a1b2c3", "Yealink SIP-T46S 66.85.0.5 00:15:65:a1:b2:c3": "001565a1b2c3",
		"Fanvil X4 2.12.1 0c383e112233": "0c383e112233", "001565a1b2c3 001565a1b2c3": "001565a1b2c3",
		"": "", "001565a1b2c3 001565a1b2c4": "", "a001565a1b2c3": "", "001565a1b2c3f": "", "Mozilla": "", strings.Repeat("x", 300) + " 001565a1b2c3": "",
	} {
		m, found := macIn(text)
		if found != (want != "") || found && m.String() != want {
			t.Errorf("%q: got %s, %v", text, m, found)
		}
	}
}

func FuzzMAC(f *testing.F) {
	f.Add("Yealink SIP-T46S 66.85.0.5 00:15:65:a1:b2:c3")
	f.Add("SEP001565A1B2C3")
	f.Fuzz(func(t *testing.T, text string) {
		if m, ok := ParseMAC(text); ok {
			if back, ok := ParseMAC(m.Colons()); !ok || back != m {
				t.Errorf("%q: %s is not %s", text, back, m)
			}
		}
		if m, found := macIn(text); found && !strings.Contains(strings.ToLower(strings.NewReplacer(":", "", "-", "").Replace(text)), m.String()) {
			t.Errorf("%q: got %s, which is not in it", text, m)
		}
		vendorOf(text)
		if c := clean(text); strings.ContainsAny(c, "\r\n\x00") || len(c) > textMax {
			t.Errorf("%q: got %q", text, c)
		}
	})
}
