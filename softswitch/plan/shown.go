package plan

import (
	"strings"

	"github.com/siproam/siproam/roam"
)

// Identity is a caller as the offices know him.
type Identity struct {
	User   roam.UserID // "1001@north.example"; "" for a foreign caller
	Name   string      // display name
	Number string      // E.164, "" when there is none
}

// Shown is the user and host of From as the callee with the canonical address callee
// sees it: what calls back when it is dialled there. That is the extension between users
// of one domain, else the public number, else the canonical address.
func Shown(c Identity, callee roam.UserID) (user, host string) {
	name, from, _ := strings.Cut(string(c.User), "@")
	_, domain, _ := strings.Cut(string(callee), "@")
	switch {
	case name != "" && from == domain:
		return name, from
	case c.Number != "":
		return c.Number, domain
	}
	return name, from
}
