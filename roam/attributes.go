package roam

import (
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"slices"
)

// Attributes is what an office's softswitch speaks with other offices, and its limits (M11).
type Attributes struct {
	Software   string   `json:"software,omitempty"`    // "siproam 0.3", for people
	Transports []string `json:"transports,omitempty"`  // between offices, best first; none: not told
	Methods    []string `json:"methods,omitempty"`     // that cross it within a call besides INVITE, ACK and BYE; none: not told
	Codecs     []string `json:"codecs,omitempty"`      // of calls with it, "PCMA"; none: any, since media is relayed as it comes
	Services   []string `json:"services,omitempty"`    // of profiles, that it performs for visitors
	MessageMax int      `json:"message_max,omitempty"` // octets of a SIP message; 0: not told
	CallsMax   int      `json:"calls_max,omitempty"`   // calls at once with another office; 0: not told
}

// Common is the first of ours that is among theirs. Who tells nothing is taken to have all.
func Common(ours, theirs []string) (one string, found bool) {
	for _, o := range ours {
		if len(theirs) == 0 || slices.Contains(theirs, o) {
			return o, true
		}
	}
	return "", len(ours) == 0
}

// Takes says that method may cross an office that speaks a; nil: it does not say.
func (a *Attributes) Takes(method string) bool {
	return a == nil || len(a.Methods) == 0 || slices.Contains(a.Methods, method)
}

// Lacks names the services of p that an office which speaks a does not perform.
func (a *Attributes) Lacks(p *Profile) (names []string) {
	if a == nil || len(a.Services) == 0 {
		return nil
	}
	for _, s := range p.Services() {
		if !slices.Contains(a.Services, s) {
			names = append(names, s)
		}
	}
	return names
}

// Revision names what c says, in 16 hex digits: two cards that say the same have the same.
func (c *Card) Revision() string {
	plain := *c
	plain.Rev, plain.Visitor, plain.Home, plain.Mirrors, plain.Key = "", nil, nil, nil, nil
	b, err := json.Marshal(&plain)
	if err != nil { // strings and numbers: cannot be
		panic("roam: card: " + err.Error())
	}
	h := fnv.New64a()
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}
