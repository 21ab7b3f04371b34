package registrar

import (
	"fmt"
	"slices"
	"testing"

	"github.com/siproam/siproam/roam"
)

// behind has p's office hold its phones in softswitches 1 and 2 of their own, and p speak by way of n.
func (p *phone) behind(n int) *phone {
	edges := map[roam.SwitchID]string{}
	for i := 1; i <= 2; i++ {
		edges[roam.SwitchID(fmt.Sprintf("%s/%d", p.office, i))] = fmt.Sprintf("sip:sw%d.%s.example:5067;transport=tls", i, p.office)
	}
	p.w.on(p.office, func(s *Server) { s.cfg.Edges = edges })
	p.edge, p.unfiltered = roam.SwitchID(fmt.Sprintf("%s/%d", p.office, n)), true
	p.extra = fmt.Sprintf("Path: <sip:token%d@sw%d.%s.example:5067;transport=tls;lr;ob>\n", n, n, p.office)
	return p
}

// TestEdges: a location names the very softswitch that holds the phone, at home and away, and a phone that comes to
// another one of the same office has moved there, with an epoch of its own, though its Contact is the same.
func TestEdges(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			var last roam.Epoch
			for _, n := range []int{1, 2, 2, 1} {
				p.behind(n).want(200)
				settle(0)
				loc := w.r.at[alice]
				want := fmt.Sprintf("sip:sw%d.%s.example:5067;transport=tls", n, at)
				if loc.Office != at || loc.Switch != want || loc.Registrar != partnerURI(at) {
					t.Errorf("by softswitch %d of %s: got %+v, want %s", n, at, loc, want)
				}
				if moved := loc.Epoch > last; !moved && loc.Epoch != last {
					t.Errorf("by softswitch %d of %s: epoch %d after %d", n, at, loc.Epoch, last)
				}
				last = loc.Epoch
				w.on(at, func(s *Server) {
					line, _ := s.Line(alice)
					if len(line.Targets) != 1 || line.Targets[0].Flow.Edge != p.edge || len(line.Targets[0].Route) != 1 {
						t.Errorf("by softswitch %d of %s: targets %+v, want the one there, with its Path", n, at, line.Targets)
					}
				})
			}
			if at == "south" {
				w.on("north", func(s *Server) {
					line, _ := s.Line(alice)
					if len(line.Targets) != 1 || line.Targets[0].URI != "sip:sw1.south.example:5067;transport=tls" {
						t.Errorf("home calls %+v, want the softswitch that has the phone", line.Targets)
					}
				})
			}
			p.expires = 0
			p.want(200)
			settle(0)
			if loc := w.r.at[alice]; loc.Office != "" {
				t.Errorf("after it signed off at %s: got %+v, want nowhere", at, loc)
			}
		})
	}
}

// TestEdgeRestored: a registrar that starts again does not take the connections of another process for ended.
func TestEdgeRestored(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().behind(1)
		p.want(200)
		settle(0)
		north := w.offices["north"]
		north.cfg.Edges = map[roam.SwitchID]string{"north/1": "sip:sw1.north.example:5067;transport=tls"}
		north.restart()
		w.on("north", func(s *Server) {
			line, _ := s.Line(alice)
			if len(line.Targets) != 1 || line.Targets[0].Flow != p.flow().Flow || len(s.ended) != 0 {
				t.Errorf("got %+v, ended %v; want the flow as it was", line.Targets, s.ended)
			}
		})
	})
}

// TestEdgeOutbound: the softswitch, not the number of Vias, says whether a phone's flow is its own (RFC 5626 5.1).
func TestEdgeOutbound(t *testing.T) {
	for _, c := range []struct {
		path string
		want int
	}{{"<sip:t@sw1.north.example;lr;ob>", 200}, {"<sip:t@sw1.north.example;lr>", 439}} {
		inWorld(t, func(w *world) {
			p := w.phone().behind(1).reg(1)
			p.extra = "Supported: outbound\nPath: " + c.path + "\n"
			if code := p.register(); code != c.want {
				t.Errorf("%s: got %d, want %d", c.path, code, c.want)
			}
			if ids := p.w.regIDs(); c.want == 200 && !slices.Equal(ids, []uint32{1}) {
				t.Errorf("%s: bound as %v, want reg-id 1", c.path, ids)
			}
		})
	}
}

// regIDs is the flows of alice's phones at home.
func (w *world) regIDs() (ids []uint32) {
	w.on("north", func(s *Server) {
		for _, c := range s.users[alice].home.Contacts() {
			ids = append(ids, c.RegID)
		}
	})
	return ids
}
