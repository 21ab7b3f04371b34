package provision

import (
	"encoding/hex"
	"regexp"
	"strings"
)

// MAC is the address of a phone's Ethernet.
type MAC [6]byte

// ParseMAC reads 12 hex digits, with colons, dashes or dots between them or without.
func ParseMAC(s string) (m MAC, ok bool) {
	var digits [12]byte
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':' || c == '-' || c == '.':
		case n == len(digits):
			return m, false
		default:
			digits[n] = c
			n++
		}
	}
	if n != len(digits) {
		return m, false
	}
	_, err := hex.Decode(m[:], digits[:])
	return m, err == nil
}

// String is m as 12 small hex digits, as most phones write it in the names of their files.
func (m MAC) String() string { return hex.EncodeToString(m[:]) }

// Colons is m as people read it.
func (m MAC) Colons() string {
	s := m.String()
	return s[:2] + ":" + s[2:4] + ":" + s[4:6] + ":" + s[6:8] + ":" + s[8:10] + ":" + s[10:]
}

// MarshalText writes m with colons.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.Colons()), nil }

// UnmarshalText reads m in any of its forms.
func (m *MAC) UnmarshalText(b []byte) error {
	is, ok := ParseMAC(string(b))
	if !ok {
		return ErrMAC
	}
	*m = is
	return nil
}

// single says that m is one phone's: not all zeros, and no group.
func (m MAC) single() bool { return m != MAC{} && m[0]&1 == 0 }

// inText finds addresses that stand alone in other text; letters before it, as in SEP001122334455, are no hex digits.
var inText = regexp.MustCompile(`(?i)(?:^|[^0-9a-f])((?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}|[0-9a-f]{12})(?:[^0-9a-f]|$)`)

// textMax bounds what is read of a name or User-Agent.
const textMax = 256

// macIn is the one address that text holds: a certificate's name, a User-Agent. Text with two says nothing.
func macIn(text string) (m MAC, found bool) {
	if len(text) > textMax {
		return m, false
	}
	for {
		at := inText.FindStringSubmatchIndex(text)
		if at == nil {
			return m, found
		}
		is, ok := ParseMAC(text[at[2]:at[3]])
		if !ok || found && is != m {
			return MAC{}, false
		}
		m, found, text = is, true, text[at[3]:] // what ends one may begin the next
	}
}

// agents is how vendors begin or name themselves in a User-Agent, in small letters.
var agents = []struct{ word, vendor string }{
	{"yealink", "yealink"}, {"polycom", "poly"}, {"polyvvx", "poly"}, {"polyedge", "poly"}, {"polyccx", "poly"}, {"filetransport poly", "poly"}, {"snom", "snom"},
	{"grandstream", "grandstream"}, {"fanvil", "fanvil"}, {"cisco", "cisco"}, {"linksys", "cisco"}, {"sipura", "cisco"}, {"baresip", "baresip"},
}

// vendorOf is whose phone says that it is agent; "" when it does not say.
func vendorOf(agent string) string {
	agent = strings.ToLower(agent[:min(len(agent), textMax)])
	for _, a := range agents {
		if strings.Contains(agent, a.word) {
			return a.vendor
		}
	}
	return ""
}

// makers is the vendors' blocks of addresses, as far as their phones are known to have them; what is not here is known by
// what the phone calls itself, or by the name of the file that it asks for.
var makers = map[string]string{
	"001565": "yealink", "805ec0": "yealink", "805e0c": "yealink", "249ad8": "yealink", "44dbd2": "yealink", "c4fc22": "yealink", "309610": "yealink",
	"0004f2": "poly", "64167f": "poly", "482567": "poly",
	"000413": "snom",
	"000b82": "grandstream", "c074ad": "grandstream", "ec74d7": "grandstream",
	"00a859": "fanvil", "0c383e": "fanvil",
	"000e08": "cisco",
}

// maker is whose block m is of; "" for one that is not known.
func (m MAC) maker() string { return makers[m.String()[:6]] }
