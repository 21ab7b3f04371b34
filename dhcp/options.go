package dhcp

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What phones read (docs/operations.md says who reads what).
const (
	optOffset      = 2   // seconds east of UTC, now
	optDNS         = 6   //
	optDomain      = 15  //
	optBroadcast   = 28  //
	optNTP         = 42  //
	optVendorInfo  = 43  // sub-options of the class's vendor
	optTFTP        = 66  // server name; phones take a URL
	optBootFile    = 67  //
	optPOSIXZone   = 100 // RFC 4833
	optZone        = 101 //
	optSearch      = 119 // RFC 3397
	optSIP         = 120 // RFC 3361
	optVendorIdent = 125 // RFC 3925
	optVLAN        = 132 // "20": Yealink, Snom, Grandstream, Fanvil
	optVLANClass   = 133 // "5"
	optTFTPServers = 150 // RFC 5859
	optURL         = 160 // Poly, Cisco
)

// weight is the order in which options are put: what has no room at the end is left out. The rest follows by code.
var weight = [...]byte{optRouter, optDNS, optSIP, optVLAN, optVendorInfo, optTFTP, optURL, optTFTPServers, optBootFile, optVendorIdent,
	optNTP, optPOSIXZone, optOffset, optZone, optVLANClass, optDomain, optSearch, optHost, optBroadcast}

// option is one as it goes out.
type option struct {
	code  byte
	value []byte
	fill  bool // value has {mac}, {MAC} or {server} in it
}

// set is the options of one kind of client in one subnet, the weightiest first.
type set struct {
	options []option
	zone    *time.Location // of option 2; nil: none
	sip     bool           // the office's servers are told in option 120
}

// heavier orders options.
func heavier(a, b option) int {
	at := func(code byte) int {
		if i := bytes.IndexByte(weight[:], code); i >= 0 {
			return i
		}
		return len(weight) + int(code)
	}
	return cmp.Compare(at(a.code), at(b.code))
}

// compile is what o, with what it leaves out taken from the ones after it, says to a client.
func compile(all ...*Options) (s set) {
	has := map[byte]bool{}
	put := func(code byte, value []byte) {
		if !has[code] && len(value) > 0 {
			has[code] = true
			s.options = append(s.options, option{code, value, bytes.IndexByte(value, '{') >= 0})
		}
	}
	s.sip = true
	for _, o := range all {
		for _, x := range o.others() {
			put(x.code, x.value)
		}
		put(optDNS, addresses(o.DNS))
		put(optDomain, []byte(o.Domain))
		put(optSearch, names(o.Search))
		put(optNTP, addresses(o.NTP))
		put(optTFTP, []byte(cmp.Or(o.TFTP, o.Provision)))
		put(optTFTPServers, addresses(o.TFTPServers))
		put(optBootFile, []byte(o.BootFile))
		put(optURL, []byte(o.Provision))
		put(optVLAN, text(o.VoiceVLAN))
		if o.VoiceVLAN > 0 {
			put(optVLANClass, text(o.VoicePriority))
		}
		if s.zone == nil && o.Timezone != "" {
			if zone, err := time.LoadLocation(o.Timezone); err == nil { // Validate has seen it
				s.zone = zone
				put(optOffset, make([]byte, 4)) // filled in when it is told
				put(optPOSIXZone, []byte(posix(zone, time.Now())))
				put(optZone, []byte(o.Timezone))
			}
		}
		s.sip = s.sip && !has[optSIP]
	}
	if s.sip {
		s.options = append(s.options, option{code: optSIP})
	}
	slices.SortStableFunc(s.options, heavier)
	return s
}

// Servers is how phones reach the office's softswitches, best first.
type Servers struct {
	// Names go out alone when there are any: a certificate is checked against a name (RFC 3361 3.1).
	Names []string
	// Addrs go out where there are no names (RFC 3361 3.2). An unspecified one is the address at which the client
	// reaches us; those of the other family are left out.
	Addrs []netip.Addr
}

// sipServers is option 120 (RFC 3361 3): the octet that says which, then names or addresses, never both. here is what
// an unspecified address means. It is nil where there is nothing to say.
func sipServers(s Servers, here netip.Addr) []byte {
	if len(s.Names) > 0 {
		return append([]byte{0}, names(s.Names)...)
	}
	b := make([]byte, 1, 1+4*len(s.Addrs))
	b[0] = 1
	for _, ip := range s.Addrs {
		if ip = ip.Unmap(); ip.IsUnspecified() {
			ip = here
		}
		if ip.Is4() {
			b = append(b, ip.AsSlice()...)
		}
	}
	if len(b) == 1 {
		return nil
	}
	return b
}

// names is a list of names as RFC 1035 3.1 writes them, without compression, which not every phone can read.
func names(all []string) (b []byte) {
	for _, name := range all {
		for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
			b = append(append(b, byte(len(label))), label...)
		}
		b = append(b, 0)
	}
	return b
}

// isName says that name can be written by names: labels of 1 to 63 octets of the characters of a host name, 253 in all.
func isName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	for label := range strings.SplitSeq(name, ".") {
		if len(label) < 1 || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return len(name) <= 253
}

// addresses is the IPv4 ones of all, one after the other.
func addresses(all []netip.Addr) (b []byte) {
	for _, ip := range all {
		if ip = ip.Unmap(); ip.Is4() {
			b = append(b, ip.AsSlice()...)
		}
	}
	return b
}

// text is a number as phones read it in 132 and 133; nothing for 0.
func text(n int) []byte {
	if n == 0 {
		return nil
	}
	return []byte(strconv.Itoa(n))
}

// encapsulated is option 43 of sub-options, or the part of option 125 for one enterprise (RFC 3925 4), when one is not 0.
func encapsulated(enterprise uint32, subs []option) (b []byte) {
	for _, o := range subs {
		b = append(append(b, o.code, byte(len(o.value))), o.value...)
	}
	if enterprise == 0 {
		return b
	}
	return append(append(binary.BigEndian.AppendUint32(nil, enterprise), byte(len(b))), b...)
}

// fill replaces {mac}, {MAC}, {server} and {secret} in value. A MAC is twelve hex digits; secret makes one for it.
func fill(value, mac []byte, server netip.Addr, secret func(mac string) string) []byte {
	low, text := hex.EncodeToString(mac), string(value)
	if strings.Contains(text, "{secret}") {
		text = strings.ReplaceAll(text, "{secret}", secret(low))
	}
	return []byte(strings.NewReplacer("{mac}", low, "{MAC}", strings.ToUpper(low), "{server}", server.String()).Replace(text))
}
