package roam

import "slices"

// Abilities is what a device can do, as it said when it registered (M6). Its lists are shared and never changed.
type Abilities struct {
	Transport Transport `json:"t,omitempty"`         // by which its REGISTER came; NoTransport: not told
	Require   []string  `json:"require,omitempty"`   // option tags that it needs of us
	Supported []string  `json:"supported,omitempty"` // option tags that it has
	Methods   []string  `json:"methods,omitempty"`   // that it takes
}

// Equal says that a and b are the same abilities; nil is those of a device that told nothing.
func (a *Abilities) Equal(b *Abilities) bool {
	if a == b {
		return true
	}
	return a != nil && b != nil && a.Transport == b.Transport && slices.Equal(a.Require, b.Require) &&
		slices.Equal(a.Supported, b.Supported) && slices.Equal(a.Methods, b.Methods)
}

// Demands is what an office wants of devices (FACE.md, "abilities"). The zero Demands takes any.
type Demands struct {
	Transports []string `json:"transports,omitempty" yaml:"transports"` // by which they may come: udp, tcp, tls, ws, wss; none: any
	Require    []string `json:"require,omitempty" yaml:"require"`       // option tags that they must have
	Refuse     []string `json:"refuse,omitempty" yaml:"refuse"`         // option tags that they get nothing of, even where we could
}

// Lack is what is missing between a device and an office; the zero Lack: nothing.
type Lack struct {
	Transports  []string // the device came by another than these
	Unsupported []string // option tags that the device needs and is not given
	Missing     []string // option tags that the device must have and has not
}

// None says that nothing is missing.
func (l *Lack) None() bool { return l.Transports == nil && l.Unsupported == nil && l.Missing == nil }

// Transport is what of transports keeps a device away that came by t; nil: nothing.
func (d *Demands) Transport(t Transport) []string {
	if d == nil || len(d.Transports) == 0 || t == NoTransport || slices.Contains(d.Transports, t.Word()) {
		return nil
	}
	return d.Transports
}

// Compare holds d against what a device has, and what its account says that it has besides.
func (d *Demands) Compare(a *Abilities, declared []string) (l Lack) {
	if d == nil || a == nil {
		return l
	}
	l.Transports = d.Transport(a.Transport)
	for _, tag := range a.Require {
		if slices.Contains(d.Refuse, tag) {
			l.Unsupported = append(l.Unsupported, tag)
		}
	}
	for _, tag := range d.Require {
		if !slices.Contains(a.Supported, tag) && !slices.Contains(a.Require, tag) && !slices.Contains(declared, tag) {
			l.Missing = append(l.Missing, tag)
		}
	}
	return l
}

var words = [...]string{"", "udp", "tcp", "tls", "ws", "wss"}

// Word is the transport as URIs and configurations write it.
func (t Transport) Word() string { return words[t] }

// TransportOf is the transport that word names.
func TransportOf(word string) (t Transport, found bool) {
	i := slices.Index(words[1:], word)
	return Transport(i + 1), i >= 0
}
