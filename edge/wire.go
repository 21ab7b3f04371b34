package edge

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// mark says which message of the registrar's it is, or was: of which start of it, in which telling of everything, and which.
type mark struct {
	Boot uint64 `json:"boot"`
	Sync uint64 `json:"sync"`
	N    uint64 `json:"n"`
}

// after says that m was sent after o.
func (m mark) after(o mark) bool {
	switch {
	case m.Boot != o.Boot:
		return m.Boot > o.Boot
	case m.Sync != o.Sync:
		return m.Sync > o.Sync
	}
	return m.N > o.N
}

// edgeDoc is what a softswitch says of itself (roam-edge).
type edgeDoc struct {
	Version  int           `json:"v"`
	ID       roam.SwitchID `json:"id"`
	Boot     uint64        `json:"boot"`
	Calls    int           `json:"calls"`
	Full     bool          `json:"full,omitempty"` // takes no more calls, or is about to stop: new phones are better off elsewhere
	Have     mark          `json:"have"`           // the last message of roam-lines that it took
	Closed   []roam.Flow   `json:"closed,omitempty"`
	Silent   []roam.Flow   `json:"silent,omitempty"`
	Stopping bool          `json:"stopping,omitempty"` // this is its last word
}

// linesDoc is what the registrar tells a softswitch (roam-lines).
type linesDoc struct {
	Version int `json:"v"`
	mark
	First    bool        `json:"first,omitempty"` // everything is told from here on
	Whole    bool        `json:"whole,omitempty"` // everything has been told: the rest is to be forgotten
	Card     *roam.Card  `json:"card,omitempty"`  // the office's, with First and when it has changed
	Lines    []lineDoc   `json:"lines,omitempty"`
	Released []released  `json:"released,omitempty"`
	Charged  []roam.Flow `json:"charged,omitempty"` // gave wrong credentials
	Started  []started   `json:"started,omitempty"`
}

// started is a home that has started from a file that was written last at At: it may have lost charging records.
type started struct {
	Office roam.OfficeID `json:"office"`
	At     time.Time     `json:"at"`
}

// released is a device that is served no more.
type released struct {
	User   roam.UserID   `json:"user"`
	Device roam.Device   `json:"device,omitempty"`
	Gone   roam.Location `json:"gone"`
}

// lineDoc is one user.
type lineDoc struct {
	User    roam.UserID    `json:"user"`
	Nobody  bool           `json:"nobody,omitempty"` // not known here any more
	Names   []string       `json:"names,omitempty"`  // of our own user: what else he is called
	Visitor bool           `json:"visitor,omitempty"`
	Home    *roam.Card     `json:"home,omitempty"`
	Epoch   roam.Epoch     `json:"epoch,omitempty"`
	Profile *roam.Profile  `json:"profile,omitempty"`
	Targets []targetDoc    `json:"targets,omitempty"`
	Gone    *roam.Location `json:"gone,omitempty"`
	Owed    bool           `json:"provisional,omitempty"` // home has not recorded the visit: charging records wait (M9)
}

// targetDoc is one way to a phone: by a flow of a softswitch, or by another office.
type targetDoc struct {
	URI    string        `json:"uri"`
	Edge   roam.SwitchID `json:"edge,omitempty"`
	Path   []string      `json:"path,omitempty"` // as that softswitch wrote it
	Q      uint16        `json:"q"`
	Device roam.Device   `json:"dev,omitempty"`
	RegID  uint32        `json:"reg_id,omitempty"`
	Agent  string        `json:"agent,omitempty"`
	Spot   *roam.Spot    `json:"spot,omitempty"`
	Office roam.OfficeID `json:"office,omitempty"`
}

// serveDoc asks whether a line may be served (roam-serve).
type serveDoc struct {
	Version int     `json:"v"`
	Line    lineDoc `json:"line"`
}

// lineOf is line as it is told. Our own users' dialling plan is the office's, which every softswitch has.
func lineOf(line *roam.Line, names []string) lineDoc {
	d := lineDoc{User: line.User, Names: names, Visitor: line.Visitor, Epoch: line.Epoch, Profile: line.Profile, Gone: line.Gone}
	if line.Visitor {
		d.Home = &line.Home
	} else if p := line.Profile; p != nil && p.Dial != nil {
		own := *p
		own.Dial = nil
		d.Profile = &own
	}
	for _, t := range line.Targets {
		d.Targets = append(d.Targets, targetDoc{URI: t.URI, Edge: t.Flow.Edge, Path: t.Route, Q: t.Q, Device: t.Device, RegID: t.RegID, Agent: t.Agent, Spot: t.Spot, Office: t.Office})
	}
	return d
}

// readBody reads m's body into doc, which holds its version at v.
func readBody(m *sip.Message, doc any, v *int) error {
	kind, _, _ := strings.Cut(string(m.Value(sip.ContentType)), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), bodyType) {
		return &sip.Refused{Why: roam.BadRequest, Code: 415, Fields: []sip.Field{{Name: sip.Accept, Value: bodyType}}}
	}
	if json.Unmarshal(m.Body(), doc) != nil || *v != docVersion {
		return roam.BadRequest
	}
	return nil
}

// encode is doc as a body.
func encode(doc any) []byte {
	b, err := json.Marshal(doc)
	if err != nil { // strings, numbers, addresses: cannot be
		panic("edge: " + err.Error())
	}
	return b
}

// flowField is the header field that says where a request came from; a phone cannot say it (sip.Message.Distrust).
const flowField = "Roam-Flow"

// writeFlow is f, a phone's flow of softswitch id: "north/1;t=UDP;c=0;l=...;r=...;here=...".
func writeFlow(id roam.SwitchID, f *sip.Flow) string {
	return fmt.Sprintf("%s;t=%s;c=%d;l=%s;r=%s;here=%s", id, f.Transport, f.Conn,
		sip.Quote(f.Local.String()), sip.Quote(f.Remote.String()), sip.Quote(f.Here))
}

// readFlow reads what writeFlow wrote.
func readFlow(text string) (*sip.Flow, error) {
	id, rest, _ := strings.Cut(text, ";")
	p := sip.Params(rest)
	get := func(name string) string { v, _ := p.Get(name); return v }
	f := &sip.Flow{Here: get("here")}
	f.Edge = roam.SwitchID(id)
	for t := roam.UDP; t <= roam.WSS; t++ {
		if t.String() == get("t") {
			f.Transport = t
		}
	}
	var err1, err2, err3 error
	f.Conn, err1 = strconv.ParseUint(get("c"), 10, 64)
	f.Local, err2 = netip.ParseAddrPort(get("l"))
	f.Remote, err3 = netip.ParseAddrPort(get("r"))
	if f.Transport == roam.NoTransport || err1 != nil || err2 != nil || err3 != nil || id == "" {
		return nil, roam.BadRequest
	}
	return f, nil
}
