package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// zone is a DNS for tests: "_sip._udp.north.example" to SRV, names to addresses.
type zone struct {
	services map[string][]*net.SRV
	hosts    map[string]string
	asked    []string
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	name = "_" + service + "._" + proto + "." + name
	z.asked = append(z.asked, name)
	if strings.HasSuffix(name, "silent.example") {
		return "", nil, &net.DNSError{Err: "timeout", Name: name, IsTimeout: true}
	}
	if r := z.services[name]; r != nil {
		return name, r, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) (all []netip.Addr, err error) {
	z.asked = append(z.asked, host)
	if strings.HasSuffix(host, "silent.example") {
		return nil, &net.DNSError{Err: "timeout", Name: host, IsTimeout: true}
	}
	for s := range strings.FieldsSeq(z.hosts[host]) {
		all = append(all, netip.MustParseAddr(s))
	}
	if all == nil {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return all, err
}

func TestReach(t *testing.T) {
	z := &zone{
		services: map[string][]*net.SRV{
			"_sip._udp.north.example":  {{Target: "a.north.example.", Port: 5062}, {Target: "gone.north.example.", Port: 5062}, {Target: "b.north.example.", Port: 5063}},
			"_sip._tcp.north.example":  {{Target: "a.north.example.", Port: 5060}},
			"_sips._tcp.north.example": {{Target: "a.north.example.", Port: 5067}},
			"_sip._udp.closed.example": {{Target: "."}},
		},
		hosts: map[string]string{
			"a.north.example": "192.0.2.1 2001:db8::1", "b.north.example": "::ffff:192.0.2.2", "north.example": "192.0.2.9",
			"plain.example": "192.0.2.7", "closed.example": "192.0.2.8", "localhost": "127.0.0.1",
			"many.example": strings.Repeat("192.0.2.3 ", 40),
		},
	}
	tr := New(Config{Resolver: z}, nil, nil, zerolog.Nop())
	for _, tt := range []struct{ uri, want, asked string }{
		{"sip:192.0.2.1", "UDP 192.0.2.1:5060 192.0.2.1", ""},
		{"sip:1001@192.0.2.1:5080;transport=TCP", "TCP 192.0.2.1:5080 192.0.2.1", ""},
		{"sip:[2001:db8::1]:5070;maddr=192.0.2.66", "UDP [2001:db8::1]:5070 2001:db8::1", ""},
		{"sip:192.0.2.1;transport=tls", "TLS 192.0.2.1:5061 192.0.2.1", ""},
		{"sips:192.0.2.1", "TLS 192.0.2.1:5061 192.0.2.1", ""},
		{"sips:192.0.2.1;transport=tcp", "TLS 192.0.2.1:5061 192.0.2.1", ""},
		{"sip:north.example", "UDP 192.0.2.1:5062 north.example, UDP [2001:db8::1]:5062 north.example, UDP 192.0.2.2:5063 north.example, " +
			"TCP 192.0.2.1:5060 north.example, TCP [2001:db8::1]:5060 north.example",
			"_sip._udp.north.example a.north.example gone.north.example b.north.example _sip._tcp.north.example a.north.example"},
		{"sip:North.example:5067;transport=tls", "TLS 192.0.2.9:5067 north.example", "north.example"},
		{"sips:north.example", "TLS 192.0.2.1:5067 north.example, TLS [2001:db8::1]:5067 north.example", "_sips._tcp.north.example a.north.example"},
		{"sip:plain.example", "UDP 192.0.2.7:5060 plain.example", "_sip._udp.plain.example _sip._tcp.plain.example plain.example"},
		{"sip:plain.example;transport=tcp", "TCP 192.0.2.7:5060 plain.example", "_sip._tcp.plain.example plain.example"},
		{"sip:localhost", "UDP 127.0.0.1:5060 localhost", "localhost"},
		{"sip:closed.example", roam.NoRoute.Error(), "_sip._udp.closed.example _sip._tcp.closed.example"},
		{"sip:nowhere.example", roam.NoRoute.Error(), "_sip._udp.nowhere.example _sip._tcp.nowhere.example nowhere.example"},
		{"sip:silent.example", roam.Timeout.Error(), "_sip._udp.silent.example _sip._tcp.silent.example silent.example"},
		{"sip:north.example;transport=sctp", roam.NoRoute.Error(), ""},
		{"sips:north.example;transport=udp", roam.NoRoute.Error(), ""},
		{"tel:+15550001001", roam.NoRoute.Error(), ""},
	} {
		u, err := sip.ParseURI([]byte(tt.uri))
		if err != nil {
			t.Fatal(err)
		}
		z.asked = nil
		hops, err := tr.Reach(context.Background(), u)
		var got []string
		for _, h := range hops {
			got = append(got, h.Transport.String()+" "+h.Addr+" "+h.Name)
		}
		var why roam.Refusal
		if errors.As(err, &why) {
			got = []string{why.Error()}
		}
		if g := strings.Join(got, ", "); g != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.uri, g, err, tt.want)
		}
		if g := strings.Join(z.asked, " "); g != tt.asked {
			t.Errorf("%s: asked %s, want %s", tt.uri, g, tt.asked)
		}
	}
	hops, err := tr.Reach(context.Background(), sip.URI{Scheme: "sip", Host: "many.example", Port: 5060})
	if err != nil || len(hops) != maxHops {
		t.Errorf("got %d hops, %v, want %d", len(hops), err, maxHops)
	}
}
