package transaction

import (
	"net/netip"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// A request too long for one packet of an unknown path goes over a stream, and over UDP only where the
// other end takes no connection (18.1.1). That concerns hops: what goes down a flow has no choice.
const (
	mostOverUDP = 1300             // octets of a request, Via included
	streamFor   = 2 * time.Second  // to connect where UDP would do
	noStreamFor = 10 * time.Minute // a hop that took no connection is not asked again
	mostNoTCP   = 1024             // hops that took none
)

// outgrows says that the request is too long for f, and that nothing was done about it yet.
func (c *Client) outgrows(f *sip.Flow) bool {
	if f.Transport != roam.UDP || c.big || c.build(&c.layer.request, f) != nil { // send has the same error
		return false
	}
	const branch = len(sip.Cookie) + branchSize
	line := len("Via: SIP/2.0/UDP ;rport;branch=\r\n") + len(f.Here) + branch
	return len(c.layer.request.Bytes())+line > mostOverUDP
}

// preferStreams puts streams first among the hops to try, hop again with them. Where DNS
// names none, each hop's own address and port is tried over TCP, then over UDP.
func (c *Client) preferStreams(hop sip.Hop) {
	c.big = true
	all := append([]sip.Hop{hop}, c.hops...)
	var streams, datagrams []sip.Hop
	for _, h := range all {
		if h.Transport.Stream() {
			streams = append(streams, h)
		} else {
			datagrams = append(datagrams, h)
		}
	}
	if c.hops = append(streams, datagrams...); len(streams) > 0 {
		return
	}
	c.hops = nil
	now := time.Now()
	for _, h := range datagrams {
		tcp := h
		tcp.Transport = roam.TCP
		if now.After(c.layer.noTCP[h.Addr]) {
			c.hops = append(c.hops, tcp)
		}
		c.hops = append(c.hops, h)
	}
}

// patience is how long hop may take to open.
func (c *Client) patience(hop sip.Hop) time.Duration {
	if c.big && hop.Transport.Stream() && len(c.hops) > 0 {
		return streamFor
	}
	return reachFor
}

// noStream remembers for a while that hop takes no connection, where UDP would do.
func (c *Client) noStream(hop sip.Hop) {
	if !c.big || hop.Transport != roam.TCP {
		return
	}
	all := c.layer.noTCP
	if len(all) >= mostNoTCP {
		for one := range all { // any: asking again costs little
			delete(all, one)
			break
		}
	}
	all[hop.Addr] = time.Now().Add(noStreamFor)
}

// settleOn takes away the ways over UDP to a machine that took the connection: they are no other
// server, and what it answers or leaves unanswered by one it would by the other.
func (c *Client) settleOn(hop sip.Hop) {
	if !c.big || !hop.Transport.Stream() {
		return
	}
	var rest []sip.Hop
	for _, h := range c.hops {
		if h.Transport.Stream() || addrOf(h) != addrOf(hop) {
			rest = append(rest, h)
		}
	}
	c.hops = rest
}

func addrOf(h sip.Hop) netip.Addr {
	ap, _ := netip.ParseAddrPort(h.Addr)
	return ap.Addr()
}
