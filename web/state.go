package web

import (
	"context"
	"net/http"
	"time"

	"github.com/siproam/siproam/roam"
)

// Place is one office.
type Place struct {
	Office  string   `json:"office"`
	Domain  string   `json:"domain"`
	Listen  []string `json:"listen"`            // "udp:127.0.0.1:5060"
	Partner string   `json:"partner,omitempty"` // its address for other offices
	Store   string   `json:"store"`             // "up", "away"
	Home    int      `json:"home"`              // own users registered here
	Away    int      `json:"away"`              // own users registered at other offices
	Visits  int      `json:"visitors"`          // users of other offices registered here
	Calls   int      `json:"calls"`
	Uptime  float64  `json:"uptime_s"`

	DHCP         *DHCP        `json:"dhcp,omitempty"`         // nil: none here
	Softswitches []Softswitch `json:"softswitches,omitempty"` // in processes of their own: in the order in which phones should try them
}

// DHCP is the addresses of an office's DHCP server, by state.
type DHCP struct {
	Serves   bool `json:"serves"` // on every interface, and beside nobody
	Bound    int  `json:"bound"`
	Free     int  `json:"free"`
	Offered  int  `json:"offered"`
	Declined int  `json:"declined"`
}

// Softswitch is one of an office that has them in processes of their own.
type Softswitch struct {
	ID     string `json:"id"`
	Phones string `json:"phones,omitempty"` // SIP URI where phones find it
	Up     bool   `json:"up"`
	Full   bool   `json:"full,omitempty"` // takes no new phones
	Calls  int    `json:"calls"`
}

// Person is one user of an office, or a visitor of it.
type Person struct {
	User    string    `json:"user"`
	Name    string    `json:"name,omitempty"`
	Number  string    `json:"number,omitempty"`
	Home    string    `json:"home"`
	At      string    `json:"at,omitempty"` // office; "": nowhere
	Visitor bool      `json:"visitor,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Move    uint64    `json:"move,omitempty"`
	Phones  []Phone   `json:"phones,omitempty"`
}

// Phone is one device of a Person.
type Phone struct {
	Office    string    `json:"office"`
	Agent     string    `json:"agent,omitempty"`
	Addr      string    `json:"addr,omitempty"`
	Transport string    `json:"transport,omitempty"`
	Until     time.Time `json:"until,omitzero"`

	Spot *roam.Spot `json:"spot,omitempty"` // where it stands, as DHCP says
}

// Call is a call in progress.
type Call struct {
	ID       string     `json:"id"`
	Office   string     `json:"office"`
	Start    time.Time  `json:"start"`
	Answered time.Time  `json:"answered,omitzero"`
	From     string     `json:"from"`
	To       string     `json:"to"`
	Kind     string     `json:"kind"`
	State    string     `json:"state"`
	Codec    string     `json:"codec,omitempty"`
	ICID     string     `json:"icid,omitempty"` // the same at both offices of a call
	Lost     [2]float64 `json:"lost"`           // per cent, from A and from B
}

// Move is one change of place.
type Move struct {
	User string    `json:"user"`
	Time time.Time `json:"time"`
	From string    `json:"from,omitempty"`
	To   string    `json:"to,omitempty"`
	Move uint64    `json:"move"`
	Why  string    `json:"why,omitempty"`
}

// State is the whole page in one answer.
type State struct {
	Version string    `json:"version"`
	Now     time.Time `json:"now"`
	Places  []Place   `json:"places"`
	People  []Person  `json:"people"`
	Calls   []Call    `json:"calls"`
	Moves   []Move    `json:"moves"`
	Silent  []string  `json:"silent,omitempty"` // offices that did not answer in time
}

// most is how many people, calls and moves of one office the page shows.
const most = 500

// state answers what the page draws: one question per office and kind, bounded in time and size.
func (s *Server) state(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	st := State{Version: s.version, Now: time.Now().UTC(), Places: []Place{}, People: []Person{}, Calls: []Call{}, Moves: []Move{}}
	for _, src := range s.sources {
		place, err := src.Snapshot(ctx, AskPlace, "", most)
		if err != nil {
			st.Silent = append(st.Silent, src.Name())
			continue
		}
		add(&st.Places, place)
		for _, ask := range []string{AskPeople, AskCalls, AskMoves} {
			v, err := src.Snapshot(ctx, ask, "", most)
			if err != nil {
				continue // the office as a whole answered; a part of it may be away
			}
			add(&st.People, v)
			add(&st.Calls, v)
			add(&st.Moves, v)
		}
	}
	writeJSON(w, http.StatusOK, st)
}

// add appends v to dst when it is one of T, or a slice of them.
func add[T any](dst *[]T, v any) {
	switch v := v.(type) {
	case T:
		*dst = append(*dst, v)
	case []T:
		*dst = append(*dst, v...)
	}
}
