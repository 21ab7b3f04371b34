package transaction

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
	"github.com/siproam/siproam/sip/transport"
)

// TestFailoverOverDNS is RFC 3263 with a name server and real sockets: NAPTR prefers TCP, whose first server
// is down (a port just closed may be given to the next who asks, so it is port 1) and whose second answers 503; the one
// over UDP takes the call.
func TestFailoverOverDNS(t *testing.T) {
	busy := listenTCP(t)
	branches := make(chan string, 2)
	answer := func(b []byte, status string) []byte {
		m := siptest.Bytes(t, b)
		branches <- m.Branch()
		return siptest.Text(fmt.Sprintf("SIP/2.0 %s\nVia: %s\nFrom: %s\nTo: %s;tag=2\nCall-ID: %s\nCSeq: %s\n", status,
			m.Value(sip.Via), m.Value(sip.From), m.Value(sip.To), m.Value(sip.CallID), m.Value(sip.CSeq)))
	}
	go func() {
		c, err := busy.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		c.Write(answer(b[:n], "503 Service Unavailable"))
		c.Read(b) // until the end
	}()
	good, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { good.Close() })
	go func() {
		b := make([]byte, 4096)
		if n, from, err := good.ReadFrom(b); err == nil {
			good.WriteTo(answer(b[:n], "200 OK"), from)
		}
	}()
	server := siptest.NewNameServer(t, fmt.Sprintf(`
b.example. 60 NAPTR 1 1 "s" "SIP+D2T" "" _sip._tcp.b.example.
b.example. 60 NAPTR 1 2 "s" "SIP+D2U" "" _sip._udp.b.example.
_sip._tcp.b.example. 60 SRV 1 0 1 one.b.example.
_sip._tcp.b.example. 60 SRV 2 0 %s one.b.example.
_sip._udp.b.example. 60 SRV 1 0 %s one.b.example.
one.b.example. 60 A 127.0.0.1
`, port(busy.Addr()), port(good.LocalAddr())))

	lo, layer := serve(t, transport.NewDNS(server.Addr))
	type end struct {
		code int
		flow *sip.Flow
		err  error
	}
	ended := make(chan end, 1)
	var c *Client
	if err := lo.Do(t.Context(), func() {
		c = layer.Request(Destination{URI: sip.URI{Scheme: "sip", Host: "b.example"}}, func(w *sip.Writer, f *sip.Flow) error {
			w.Request("MESSAGE", "sip:b.example")
			for _, h := range []sip.Field{{Name: sip.MaxForwards, Value: "70"}, {Name: sip.From, Value: "<sip:a@example.org>;tag=1"}, {Name: sip.To, Value: "<sip:b.example>"},
				{Name: sip.CallID, Value: "c1"}, {Name: sip.CSeq, Value: "1 MESSAGE"}} {
				w.Add(h.Name, h.Value)
			}
			return w.End("", nil)
		}, func(res *sip.Message, err error) {
			e := end{flow: c.Flow(), err: err}
			if res != nil {
				e.code = res.Status()
			}
			ended <- e
		})
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-ended:
		if e.code != 200 || e.err != nil || e.flow.Transport != roam.UDP {
			t.Errorf("got %+v, want 200 by UDP", e)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no end; asked %v", server.Asked())
	}
	var got []string
	for range 2 {
		select {
		case one := <-branches:
			got = append(got, one)
		case <-time.After(5 * time.Second):
			t.Fatalf("hops got %q, want two; asked %v", got, server.Asked())
		}
	}
	if got[0] == got[1] {
		t.Errorf("both hops got branch %s, want a new one", got[0])
	}
	if asked := server.Asked(); !slices.ContainsFunc(asked, func(q string) bool { return strings.HasPrefix(q, "NAPTR ") }) {
		t.Errorf("asked %v", asked)
	}
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func port(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

// serve is a layer on a real transport until the test ends.
func serve(t *testing.T, r transport.Resolver) (*loop.Loop, *Layer) {
	t.Helper()
	lo := loop.New(64, 64)
	tr := transport.New(transport.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}, Resolver: r}, nil, nil, zerolog.Nop())
	layer := NewLayer(lo, tr, nil, zerolog.Nop())
	lo.EachTurn(tr.Flush)
	if err := tr.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() { _ = tr.Serve(ctx, layer); ended <- struct{}{} }()
	running, end := context.WithCancel(context.Background())
	go func() { lo.Run(running); ended <- struct{}{} }()
	t.Cleanup(func() { stop(); <-ended; end(); <-ended })
	return lo, layer
}
