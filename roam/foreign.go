package roam

import (
	"net/netip"
	"time"
)

// Foreign is how a partner that is not siproam is known and reached (DESIGN 5, 6): a home whose users roam here, a
// front that relays our users' registrations, or both.
type Foreign struct {
	Domain    string         `yaml:"domain"`    // of its users; "": it is a front alone
	Registrar string         `yaml:"registrar"` // SIP URI of its registrar and proxy, "sip:10.0.0.5:5060"
	Listen    netip.AddrPort `yaml:"listen"`    // ours for it alone, UDP and TCP: "10.2.0.1:5070"
	Sources   []Net          `yaml:"sources"`   // it comes from there; nobody else is heard at listen
	Expires   Duration       `yaml:"expires"`   // longest granted to its users, who may be back home without our hearing of it; 0: 120s
	Front     bool           `yaml:"front"`     // it relays REGISTERs of our users, with Path (RFC 3327)
}

// Longest is the longest expiry that its users are granted.
func (f *Foreign) Longest() time.Duration {
	if f.Expires == 0 {
		return 2 * time.Minute
	}
	return f.Expires.D()
}

// Mirror is how a visited office is bound at a foreign home for one device.
type Mirror struct {
	Device  Device `json:"dev,omitempty"`
	Contact string `json:"contact"`
}

// Net is an address, "10.0.0.5", or a network of them, "10.0.0.0/24".
type Net struct{ netip.Prefix }

// UnmarshalText reads either.
func (n *Net) UnmarshalText(b []byte) (err error) {
	if a, bad := netip.ParseAddr(string(b)); bad == nil {
		n.Prefix = netip.PrefixFrom(a.Unmap().WithZone(""), a.Unmap().BitLen())
		return nil
	}
	n.Prefix, err = netip.ParsePrefix(string(b))
	return err
}

// MarshalText writes an address alone where it is one.
func (n Net) MarshalText() ([]byte, error) {
	if n.IsSingleIP() {
		return n.Addr().MarshalText()
	}
	return n.Prefix.MarshalText()
}
