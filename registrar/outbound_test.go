package registrar

import (
	"fmt"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// reg sets p's Contact to one flow of its instance; all have the same URI.
func (p *phone) reg(id int) *phone {
	p.contact = fmt.Sprintf(`<sip:1001@198.51.100.7>;reg-id=%d;+sip.instance="<%s>"`, id, p.device)
	p.callID, p.port = fmt.Sprint("flow", id), uint16(40000+id)
	return p
}

const supported = "Supported: path, outbound\n"

// TestOutbound is RFC 5626 6 at home and away: each reg-id is a binding of its own, the answer says that flows are
// understood, and only phones that speak of flows hear of it.
func TestOutbound(t *testing.T) {
	for _, office := range []string{"north", "south"} {
		inWorld(t, func(w *world) {
			a := w.phone()
			a.office, a.extra = roam.OfficeID(office), supported
			a.reg(1).want(200)
			if got := string(a.last.Value(sip.Require)); got != "outbound" {
				t.Errorf("%s: Require: got %q, want outbound", office, got)
			}
			if got := string(a.last.Other("Flow-Timer")); got != "25" {
				t.Errorf("%s: Flow-Timer: got %q, want 25 over UDP", office, got)
			}
			a.reg(2).want(200)
			a.want(200) // a refresh says it, too
			if got := string(a.last.Value(sip.Require)); got != "outbound" {
				t.Errorf("%s: Require of a refresh: got %q, want outbound", office, got)
			}
			got := strings.Join(a.bindings(), "\n")
			for _, want := range []string{`;+sip.instance="<urn:uuid:a>";reg-id=1`, `;+sip.instance="<urn:uuid:a>";reg-id=2`} {
				if !strings.Contains(got, want) {
					t.Errorf("%s: bindings: got %s, want %s among them", office, got, want)
				}
			}
			w.on(roam.OfficeID(office), func(s *Server) {
				line, _ := s.Line(alice)
				if len(line.Targets) != 2 || line.Targets[0].RegID != 2 || line.Targets[1].RegID != 1 || line.Targets[0].Device != line.Targets[1].Device {
					t.Fatalf("%s: targets: got %+v, want two flows of one device, the latest first", office, line.Targets)
				}
				s.Closed(&sip.Flow{Flow: line.Targets[0].Flow})
				if line, _ = s.Line(alice); line.Targets[0].RegID != 1 {
					t.Errorf("%s: got reg-id %d first, want the flow that lives", office, line.Targets[0].RegID)
				}
			})
			a.expires = 0
			a.reg(2).want(200)
			if got := a.bindings(); len(got) != 1 || !strings.HasSuffix(got[0], "reg-id=1") {
				t.Errorf("%s: after the end of a flow: got %q, want the other", office, got)
			}
		})
	}
}

func TestOutboundRefusals(t *testing.T) {
	proxy := "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKproxy\n"
	for _, tt := range []struct {
		name, contact, extra string
		status               int
		require              string
		regID                uint32
	}{
		{"flows through a proxy", `<sip:a@192.0.2.1>;reg-id=1;+sip.instance="<urn:uuid:a>"`, supported + proxy, 439, "", 0},
		{"with a Path that no one vouches for", `<sip:a@192.0.2.1>;reg-id=1;+sip.instance="<urn:uuid:a>"`, supported + proxy + "Path: <sip:203.0.113.9;lr;ob>\n", 439, "", 0},
		{"no flows, through a proxy", `<sip:a@192.0.2.1>;reg-id=1;+sip.instance="<urn:uuid:a>"`, proxy, 200, "", 0},
		{"reg-id without an instance", `<sip:a@192.0.2.1>;reg-id=1`, supported, 200, "", 0},
		{"two flows at once", `<sip:a@192.0.2.1>;reg-id=1;+sip.instance="<urn:uuid:a>",<sip:b@192.0.2.1>;reg-id=2;+sip.instance="<urn:uuid:a>"`, supported, 400, "", 0},
		{"instance without reg-id", `<sip:a@192.0.2.1>;+sip.instance="<urn:uuid:a>"`, supported, 200, "", 0},
		{"without the option", `<sip:a@192.0.2.1>;reg-id=1;+sip.instance="<urn:uuid:a>"`, "", 200, "", 1},
		{"required", `<sip:a@192.0.2.1>;reg-id=1;+sip.instance="<urn:uuid:a>"`, "Require: outbound\n", 200, "outbound", 1},
	} {
		inWorld(t, func(w *world) {
			a := w.phone()
			a.contact, a.extra = tt.contact, tt.extra
			if got := a.register(); got != tt.status {
				t.Errorf("%s: got %d, want %d", tt.name, got, tt.status)
			}
			if got := string(a.last.Value(sip.Require)); got != tt.require {
				t.Errorf("%s: Require: got %q, want %q", tt.name, got, tt.require)
			}
			w.on("north", func(s *Server) {
				line, _ := s.Line(alice)
				if (len(line.Targets) > 0) != (tt.status == 200) || tt.status == 200 && line.Targets[0].RegID != tt.regID {
					t.Errorf("%s: got %+v, want reg-id %d", tt.name, line.Targets, tt.regID)
				}
			})
		})
	}
}
