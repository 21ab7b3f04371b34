package provision

import (
	"io"
	"log"
	"net"
	"net/netip"
	"sync"

	"github.com/siproam/siproam/metric"
)

// gate is a listener that lets in mostConns at once, connsEach of one source; the rest are closed at once, before TLS.
type gate struct {
	net.Listener
	refused *metric.Value

	mu   sync.Mutex // guards what follows
	all  int
	open map[netip.Prefix]int
}

// Accept is net.Listener's.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err != nil || !g.enter(source(peer.Addr())) {
			g.refused.Add(1)
			c.Close()
			continue
		}
		return &guest{Conn: c, leave: sync.OnceFunc(func() { g.exit(source(peer.Addr())) })}, nil
	}
}

func (g *gate) enter(from netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= mostConns || g.open[from] >= connsEach {
		return false
	}
	g.all++
	g.open[from]++
	return true
}

func (g *gate) exit(from netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.open[from]--; g.open[from] == 0 {
		delete(g.open, from)
	}
}

// guest is a connection that makes room when it is closed.
type guest struct {
	net.Conn
	leave func()
}

// Close is net.Conn's.
func (c *guest) Close() error {
	c.leave()
	return c.Conn.Close()
}

// quiet is a log for what net/http says of connections that end badly: whoever connects can make it say that.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
