package dhcp

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
)

// The most octets that are kept of what a client says of itself.
const (
	hostMost   = 63
	vendorMost = 64
	portMost   = 64
)

// askOf is what the client says of itself, cleaned: it is stored, logged and shown.
func (s *Server) askOf(q *question) lease.Ask {
	m := &q.m
	ask := lease.Ask{
		Client: clientOf(m), MAC: text16(m.hardware()), Port: portOf(m), Addr: m.addr(optAddress), Source: q.d.From.Addr(),
		Host: clean(m.get(optHost), hostMost, hostChars), Vendor: clean(m.get(optVendor), vendorMost, nil), Link: q.link.at,
	}
	if q.net != nil { // any address of it does
		ask.Link = q.net.Network.Addr()
	}
	if n, found := m.seconds(optTime); found {
		ask.Time = time.Duration(n) * time.Second
	}
	if q.class < len(s.cfg.Classes) {
		ask.Classes = s.names[q.class : q.class+1]
	}
	if s.known != nil {
		ask.Known = s.known(ask.MAC)
	}
	return ask
}

// clientOf is who the client is: its identifier, else its hardware type and address (RFC 2131 4.2). The first octet of
// either is a type, so an identifier of type 1 is the same client as its address without one.
func clientOf(m *message) string {
	if id := m.get(optClient); len(id) > 1 {
		return string(id)
	}
	return string(append([]byte{m.hardwareType()}, m.hardware()...))
}

// text16 is a hardware address as people read it.
func text16(hardware []byte) string {
	if len(hardware) == 6 {
		return wire.MAC(hardware).String()
	}
	return hex.EncodeToString(hardware)
}

// portOf is where the client is plugged in: what the relay says in option 82, "circuit" or "circuit/remote"; "": nothing.
func portOf(m *message) string {
	circuit, remote := word(m.agent(subCircuit)), word(m.agent(subRemote))
	if remote == "" {
		return circuit
	}
	return circuit + "/" + remote
}

// word is octets as text where they are some, else in hex; long ones are named by their sum.
func word(b []byte) string {
	if len(b) > portMost {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:8])
	}
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return hex.EncodeToString(b)
		}
	}
	return string(b)
}

func hostChars(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
}

// clean is text of a client without what is not printable, or not may, at most most octets of it.
func clean(b []byte, most int, may func(byte) bool) string {
	var t strings.Builder
	for _, c := range b[:min(len(b), 2*most)] {
		if c >= ' ' && c <= '~' && (may == nil || may(c)) && t.Len() < most {
			t.WriteByte(c)
		}
	}
	return t.String()
}
