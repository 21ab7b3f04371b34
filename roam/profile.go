package roam

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// ProfileVersion is of the format of Profile that this office writes. A newer one is read as far as it is known.
const ProfileVersion = 1

// Profile is the home services as values (M18): never a name that only means
// something at home. What a newer home says besides is kept as it came, see Cannot.
type Profile struct {
	Version  int      `json:"v"`
	Rev      uint64   `json:"rev,omitempty"`      // grows with every change at home (its clock in microseconds): of two, the later one
	Name     string   `json:"name,omitempty"`     // display name
	Number   string   `json:"number,omitempty"`   // E.164, "+15550001001"
	Short    string   `json:"short,omitempty"`    // the extension at home, "1001"
	Class    string   `json:"class,omitempty"`    // of users, which roaming agreements may name
	Dial     *Numbers `json:"dial,omitempty"`     // the home office's dialling plan
	Calls    int      `json:"calls,omitempty"`    // most calls at once; 0: no limit
	Bar      []string `json:"bar,omitempty"`      // what the user may not dial: beginnings of numbers as dialled or as E.164, or "@domain"
	Allow    []string `json:"allow,omitempty"`    // what he may all the same; of two that fit the longer one counts
	Forward  *Forward `json:"forward,omitempty"`  // where the user's calls go
	Device   *Demands `json:"device,omitempty"`   // what home demands of the user's devices (M6)
	Declared []string `json:"declared,omitempty"` // option tags that they have, by the account

	Unknown map[string]json.RawMessage `json:"-"` // services of a newer home
}

// Forward is where calls for a user go instead: "+15550002001", or a canonical address; "": they do not.
type Forward struct {
	Always   string `json:"always,omitempty"`
	Busy     string `json:"busy,omitempty"`
	NoAnswer string `json:"noanswer,omitempty"`
	Offline  string `json:"offline,omitempty"` // registered nowhere, or no phone answers at all
	After    int    `json:"after,omitempty"`   // seconds of ringing until NoAnswer; 0: 20

	Unknown map[string]json.RawMessage `json:"-"` // conditions of a newer home
}

// Cannot names what p asks for and this version does not do, sorted: services, and conditions of forwarding. It is
// for people: the user has these at home only.
func (p *Profile) Cannot() (names []string) {
	if p == nil {
		return nil
	}
	names = slices.Collect(maps.Keys(p.Unknown))
	if p.Forward != nil {
		for name := range p.Forward.Unknown {
			names = append(names, "forward."+name)
		}
	}
	slices.Sort(names)
	if p.Version > ProfileVersion {
		names = append(names, "what profiles of version "+strconv.Itoa(p.Version)+" mean")
	}
	return names
}

// Services names the services of p that the office which serves the user has to perform, sorted.
func (p *Profile) Services() (names []string) {
	if p == nil {
		return nil
	}
	for _, s := range [...]struct {
		name string
		has  bool
	}{{"bar", len(p.Bar) > 0}, {"calls", p.Calls > 0}, {"dial", p.Dial != nil}, {"forward", p.Forward != nil}} {
		if s.has {
			names = append(names, s.name)
		}
	}
	return append(names, slices.Sorted(maps.Keys(p.Unknown))...)
}

// Known is the services that this version performs for a visitor, as the office card has them (M11).
var Known = []string{"bar", "calls", "dial", "forward"}

type (
	plainProfile Profile
	plainForward Forward
)

var (
	profileKeys = []string{"v", "rev", "name", "number", "short", "class", "dial", "calls", "bar", "allow", "forward", "device", "declared"}
	forwardKeys = []string{"always", "busy", "noanswer", "offline", "after"}
)

// MarshalJSON writes p with what is unknown of it.
func (p *Profile) MarshalJSON() ([]byte, error) { return withUnknown((*plainProfile)(p), p.Unknown) }

// UnmarshalJSON keeps what it does not know.
func (p *Profile) UnmarshalJSON(b []byte) (err error) {
	if err = json.Unmarshal(b, (*plainProfile)(p)); err == nil {
		p.Unknown, err = unknown(b, profileKeys)
	}
	return err
}

// MarshalJSON writes f with what is unknown of it.
func (f *Forward) MarshalJSON() ([]byte, error) { return withUnknown((*plainForward)(f), f.Unknown) }

// UnmarshalJSON keeps what it does not know.
func (f *Forward) UnmarshalJSON(b []byte) (err error) {
	if err = json.Unmarshal(b, (*plainForward)(f)); err == nil {
		f.Unknown, err = unknown(b, forwardKeys)
	}
	return err
}

func withUnknown(known any, more map[string]json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(known)
	if err != nil || len(more) == 0 {
		return b, err
	}
	rest, err := json.Marshal(more)
	if err != nil {
		return nil, err
	}
	if len(b) > len("{}") {
		b[len(b)-1] = ','
		return append(b, rest[1:]...), nil
	}
	return rest, nil
}

// unknown is what of the object b has none of keys. Of a profile nobody made it is a few fields at most.
func unknown(b []byte, keys []string) (more map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(b, &more); err != nil {
		return nil, err
	}
	for _, k := range keys {
		delete(more, k)
	}
	if len(more) == 0 {
		return nil, nil
	}
	return more, nil
}
