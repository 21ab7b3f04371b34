package dhcp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

// findings is what is wrong, each beginning with its key: "subnets[0].pools[1]: ...".
type findings []error

func (f *findings) at(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf(path+": "+format, args...))
}

// Validate finds what is wrong with office.yaml's "dhcp", all at once; each error begins with its key.
func (c *Config) Validate() error {
	var f findings
	if !slices.Contains([]string{"none", "server", "proxy"}, c.Mode) {
		f.at("mode", "%q is not a mode; want none, server or proxy", c.Mode)
	}
	if c.Mode == "none" {
		return errors.Join(f...)
	}
	if len(c.Interfaces) == 0 {
		f.at("interfaces", "missing: where phones are, such as eth0")
	}
	if c.Mode == "server" && len(c.Subnets) == 0 {
		f.at("subnets", "missing: the networks whose addresses are ours to give")
	}
	f.times("lease", &c.Lease)
	f.between("probe", c.Probe, 0, 2*time.Second)
	if c.Look != 0 {
		f.between("look", c.Look, 10*time.Second, 24*time.Hour)
	}
	f.options("", &c.Options, false)
	f.classes(c)
	f.subnets(c)
	if c.Share.Of < 1 || c.Share.Of > 16 {
		f.at("share.of", "%d is not between 1 and 16", c.Share.Of)
	} else if c.Share.Part < 1 || c.Share.Part > c.Share.Of {
		f.at("share.part", "%d is not between 1 and %d", c.Share.Part, c.Share.Of)
	}
	f.limits(&c.Limits)
	return errors.Join(f...)
}

func (f *findings) between(path string, d roam.Duration, least, most time.Duration) {
	if d.D() < least || d.D() > most {
		f.at(path, "%v is not between %v and %v", d, roam.Duration(least), roam.Duration(most))
	}
}

// times: whole seconds that a client can live with. What a subnet leaves out has been filled in by effective.
func (f *findings) times(path string, t *Times) {
	f.between(path+".min", t.Min, 10*time.Second, 30*24*time.Hour)
	f.between(path+".max", t.Max, 10*time.Second, 365*24*time.Hour)
	if t.Max < t.Min {
		f.at(path+".max", "%v is below min, %v", t.Max, t.Min)
	} else if t.Time < t.Min || t.Time > t.Max {
		f.at(path+".time", "%v is not between min, %v, and max, %v", t.Time, t.Min, t.Max)
	}
}

func (f *findings) limits(l *Limits) {
	for key, n := range map[string]int{"per_port": l.PerPort, "per_oui": l.PerOUI, "reserve": l.Reserve, "offers": l.Offers} {
		if n < 0 {
			f.at("limits."+key, "%d is below 0", n)
		}
	}
	if l.PerSecond < 1 {
		f.at("limits.per_second", "%d is below 1", l.PerSecond)
	}
	f.between("limits.hold", l.Hold, 5*time.Second, 10*time.Minute)
	f.between("limits.declined", l.Declined, time.Minute, 7*24*time.Hour)
}

// subnets: each network once, with what is in it in it.
func (f *findings) subnets(c *Config) {
	for i := range c.Subnets {
		s, path := &c.Subnets[i], fmt.Sprintf("subnets[%d]", i)
		if !s.Network.IsValid() {
			f.at(path+".network", "missing: such as 10.2.0.0/24")
			continue
		}
		if s.Network != s.Network.Masked() {
			f.at(path+".network", "%v has bits behind its mask; want %v", s.Network, s.Network.Masked())
		}
		for j := range c.Subnets[:i] {
			if c.Subnets[j].Network.IsValid() && s.Network.Overlaps(c.Subnets[j].Network) {
				f.at(path+".network", "%v overlaps %v", s.Network, c.Subnets[j].Network)
			}
		}
		if s.Router.IsValid() && !s.Network.Contains(s.Router) {
			f.at(path+".router", "%v is not in %v", s.Router, s.Network)
		}
		f.ranges(path+".pools", s.Pools, s.Network)
		f.ranges(path+".exclude", s.Exclude, s.Network)
		for j := range s.Pools {
			for _, other := range s.Pools[:j] {
				if p := s.Pools[j]; p.First.Compare(other.Last) <= 0 && other.First.Compare(p.Last) <= 0 {
					f.at(fmt.Sprintf("%s.pools[%d]", path, j), "overlaps another one")
				}
			}
		}
		t := s.Lease.over(c.Lease)
		f.times(path+".lease", &t)
		f.options(path+".", &s.Options, false)
		f.reservations(path, s)
	}
}

// over is t with what it leaves out taken from all.
func (t Times) over(all Times) Times {
	if t.Min == 0 {
		t.Min = all.Min
	}
	if t.Max == 0 {
		t.Max = max(all.Max, t.Min, t.Time)
	}
	if t.Time == 0 {
		t.Time = min(max(all.Time, t.Min), t.Max)
	}
	return t
}

func (f *findings) ranges(path string, all []Range, in netip.Prefix) {
	for i, r := range all {
		switch at := fmt.Sprintf("%s[%d]", path, i); {
		case r.Last.Less(r.First):
			f.at(at, "%v comes after %v", r.First, r.Last)
		case in.IsValid() && (!in.Contains(r.First) || !in.Contains(r.Last)):
			f.at(at, "not in %v", in)
		}
	}
}

// reservations: each address and each client once.
func (f *findings) reservations(path string, s *Subnet) {
	seen := map[string]bool{}
	once := func(at, key string) {
		if key != "" && seen[key] {
			f.at(at, "given twice in this subnet")
		}
		seen[key] = true
	}
	for i, r := range s.Reservations {
		at := fmt.Sprintf("%s.reservations[%d]", path, i)
		given := 0
		for _, one := range []string{r.MAC, r.ClientID, r.Port} {
			if one != "" {
				given++
			}
		}
		if given != 1 {
			f.at(at, "want one of mac, client_id and port")
		}
		if mac, err := octets(r.MAC); err != nil || r.MAC != "" && len(mac) != 6 {
			f.at(at+".mac", "%q is not six octets, such as 00:15:65:01:02:03", r.MAC)
		} else {
			once(at+".mac", string(mac))
		}
		if id, err := octets(r.ClientID); err != nil || len(id) > 255 {
			f.at(at+".client_id", "%q is not octets in hex", r.ClientID)
		} else if len(id) > 0 {
			once(at+".client_id", "id "+string(id))
		}
		if r.Port != "" {
			once(at+".port", "port "+r.Port)
		}
		if !r.Address.IsValid() || !s.Network.Contains(r.Address) {
			f.at(at+".address", "want an address of %v", s.Network)
		} else {
			once(at+".address", r.Address.String())
		}
		if r.Host != "" && !isName(r.Host) {
			f.at(at+".host", "%q is not a host name", r.Host)
		}
	}
}

func (f *findings) classes(c *Config) {
	for i := range c.Classes {
		class, path := &c.Classes[i], fmt.Sprintf("classes[%d]", i)
		if class.Vendor == "" && len(class.OUI) == 0 {
			f.at(path, "want vendor, oui or both: who is in it")
		}
		if star := strings.IndexByte(class.Vendor, '*'); star >= 0 && star < len(class.Vendor)-1 {
			f.at(path+".vendor", "%q: a * stands at the end only", class.Vendor)
		}
		for j, o := range class.OUI {
			if b, err := octets(o); err != nil || len(b) < 3 || len(b) > 6 {
				f.at(fmt.Sprintf("%s.oui[%d]", path, j), "%q is not how a MAC begins, such as 00:15:65", o)
			}
		}
		f.ranges(path+".pools", class.Pools, netip.Prefix{})
		f.options(path+".", &class.Options, true)
	}
}

// options: what cannot be written is found here, not when a phone waits for it.
func (f *findings) options(path string, o *Options, class bool) {
	for key, list := range map[string][]netip.Addr{"dns": o.DNS, "ntp": o.NTP, "tftp_servers": o.TFTPServers} {
		for i, ip := range list {
			if ip.IsUnspecified() || ip.Zone() != "" {
				f.at(fmt.Sprintf("%s%s[%d]", path, key, i), "%v is no address anybody could ask", ip)
			}
		}
	}
	if o.Domain != "" && !isName(o.Domain) {
		f.at(path+"domain", "%q is not a domain name", o.Domain)
	}
	for i, name := range o.Search {
		if !isName(name) {
			f.at(fmt.Sprintf("%ssearch[%d]", path, i), "%q is not a domain name", name)
		}
	}
	if _, err := time.LoadLocation(o.Timezone); err != nil {
		f.at(path+"timezone", "%q is unknown here, want a name such as America/Chicago", o.Timezone)
	}
	if o.VoiceVLAN < 0 || o.VoiceVLAN > 4094 {
		f.at(path+"voice_vlan", "%d is not between 1 and 4094", o.VoiceVLAN)
	}
	if o.VoicePriority < 0 || o.VoicePriority > 7 {
		f.at(path+"voice_priority", "%d is not between 1 and 7", o.VoicePriority)
	}
	for key, value := range map[string]string{"provision": o.Provision, "tftp": o.TFTP, "boot_file": o.BootFile} {
		if len(value) > 255 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			f.at(path+key, "%q is not at most 255 characters that can be read", value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(o.Other)) {
		code, _, _, err := other(key, o.Other[key])
		switch {
		case err != nil:
			f.at(path+"other."+key, "%v", err)
		case !class && (code == optVendorInfo || code == optVendorIdent):
			f.at(path+"other."+key, "what it means is the vendor's: it goes to a class alone")
		}
	}
	room := map[uint32]int{} // of one enterprise in option 125
	for key, value := range o.Other {
		if code, enterprise, sub, err := other(key, value); err == nil && code == optVendorIdent {
			room[enterprise] += 2 + len(sub.value)
		}
	}
	for enterprise, n := range room {
		if n > 255 {
			f.at(fmt.Sprintf("%sother.125.%d", path, enterprise), "%d octets of sub-options; 255 is the most", n)
		}
	}
}

// ours are the options that the server itself decides.
const ours = "\x00\x01\x03\x32\x33\x34\x35\x36\x37\x38\x39\x3a\x3b\x3d\x50\x52\xff"

// others is Other as options; sub-options of one option together, in the order of their codes. Validate has read it.
func (o *Options) others() (all []option) {
	subs := map[[2]uint32][]option{} // code, enterprise
	for _, key := range slices.Sorted(maps.Keys(o.Other)) {
		code, enterprise, sub, err := other(key, o.Other[key])
		switch {
		case err != nil:
		case sub.code == 0:
			all = append(all, option{code: code, value: sub.value})
		default:
			id := [2]uint32{uint32(code), enterprise}
			subs[id] = append(subs[id], sub)
		}
	}
	var ident []byte // one option 125 for all enterprises
	for _, id := range slices.SortedFunc(maps.Keys(subs), func(a, b [2]uint32) int { return slices.Compare(a[:], b[:]) }) {
		slices.SortFunc(subs[id], func(a, b option) int { return int(a.code) - int(b.code) })
		if value := encapsulated(id[1], subs[id]); id[1] == 0 {
			all = append(all, option{code: byte(id[0]), value: value})
		} else {
			ident = append(ident, value...)
		}
	}
	return append(all, option{code: optVendorIdent, value: ident})
}

// other reads one of Other: its code, of 125 the enterprise, and the sub-option, whose code is 0 for an option as a whole.
func other(key, value string) (code byte, enterprise uint32, sub option, err error) {
	parts := strings.Split(key, ".")
	numbers := make([]uint64, len(parts))
	for i, p := range parts {
		if numbers[i], err = strconv.ParseUint(p, 10, 32); err != nil {
			return 0, 0, sub, fmt.Errorf("not a code, such as 128, 43.1 or 125.3561.1")
		}
	}
	first, last := numbers[0], numbers[len(numbers)-1]
	if first < 1 || first > 254 || strings.IndexByte(ours, byte(first)) >= 0 {
		return 0, 0, sub, fmt.Errorf("is no option that can be set here")
	}
	code = byte(first)
	switch {
	case len(parts) == 1 && code != optVendorIdent:
	case len(parts) == 2 && code == optVendorInfo && last >= 1 && last <= 254:
		sub.code = byte(last)
	case len(parts) == 3 && code == optVendorIdent && numbers[1] > 0 && last >= 1 && last <= 254:
		enterprise, sub.code = uint32(numbers[1]), byte(last)
	default:
		return 0, 0, sub, fmt.Errorf("want code, 43.sub-option or 125.enterprise.sub-option")
	}
	sub.value, err = valueOf(value)
	if most := 1000; err == nil && (len(sub.value) == 0 || len(sub.value) > most || sub.code != 0 && len(sub.value) > 248) {
		err = fmt.Errorf("%d octets are none or too many", len(sub.value))
	}
	return code, enterprise, sub, err
}

// valueOf reads "text:…", "hex:…", "ip:…", "name:…", "uint8:…", "uint16:…", "uint32:…".
func valueOf(s string) (b []byte, err error) {
	form, rest, _ := strings.Cut(s, ":")
	switch form {
	case "text":
		return []byte(rest), nil
	case "hex":
		return octets(rest)
	case "ip":
		for one := range strings.SplitSeq(rest, ",") {
			ip, err := netip.ParseAddr(strings.TrimSpace(one))
			if err != nil || !ip.Is4() {
				return nil, fmt.Errorf("%q is not an IPv4 address", one)
			}
			b = append(b, ip.AsSlice()...)
		}
		return b, nil
	case "name":
		for one := range strings.SplitSeq(rest, ",") {
			if !isName(one) {
				return nil, fmt.Errorf("%q is not a name", one)
			}
			b = append(b, names([]string{one})...)
		}
		return b, nil
	case "uint8", "uint16", "uint32":
		bits, _ := strconv.Atoi(form[4:])
		n, err := strconv.ParseUint(rest, 10, bits)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number of %d bits", rest, bits)
		}
		return binary.BigEndian.AppendUint32(nil, uint32(n))[4-bits/8:], nil
	}
	return nil, fmt.Errorf("%q: want text:, hex:, ip:, name:, uint8:, uint16: or uint32: before it", s)
}

// octets reads hex digits, with or without colons or dashes between octets.
func octets(s string) ([]byte, error) {
	return hex.DecodeString(strings.NewReplacer(":", "", "-", "").Replace(s))
}
