package registrar

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip/digest"
)

// login is a name to log in under, with its HA1s. A user has two or three, which lie side by side without
// pointers: as two maps of strings, one as kept and one as checked, they were half of what an account took.
type login struct {
	name  string
	phone bool    // a provisioned phone's own, which a new password leaves as it is
	kept  [2]bool // as the places of digest.HA1
	md5   [md5.Size]byte
	sha   [sha256.Size]byte
}

// ha1 is l's HA1s; they are l's own memory.
func (l *login) ha1() (h digest.HA1) {
	for i, room := range l.rooms() {
		if l.kept[i] {
			h[i] = room
		}
	}
	return h
}

func (l *login) rooms() [2][]byte { return [2][]byte{l.md5[:], l.sha[:]} }

// logins reads account.Logins and account.Phones of user. What is no HA1 is none.
func logins(user roam.UserID, kept, phones map[string][]string) []login {
	all := make([]login, 0, len(kept)+len(phones))
	for i, names := range []map[string][]string{kept, phones} {
		for name, hexes := range names {
			l := login{name: pieceOf(string(user), name), phone: i == 1}
			l.read(hexes)
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b login) int { return strings.Compare(a.name, b.name) })
	return all
}

// read takes the HA1s of l from hex.
func (l *login) read(hexes []string) {
	for i, room := range l.rooms() {
		if i < len(hexes) && len(hexes[i]) == 2*len(room) {
			_, err := hex.Decode(room, []byte(hexes[i]))
			l.kept[i] = err == nil
		}
	}
}

// pieceOf is s, as a piece of whole where it begins that: the user part of a user's canonical name, or all of it.
func pieceOf(whole, s string) string {
	if strings.HasPrefix(whole, s) {
		return whole[:len(s)]
	}
	return s
}

// texts is account.Logins again, or account.Phones.
func texts(all []login, phones bool) map[string][]string {
	kept := map[string][]string{}
	for i := range all {
		if all[i].phone != phones {
			continue
		}
		h := all[i].ha1()
		hexes := []string{hex.EncodeToString(h[0]), hex.EncodeToString(h[1])}
		if !all[i].kept[1] {
			hexes = hexes[:1]
		}
		kept[all[i].name] = hexes
	}
	if phones && len(kept) == 0 {
		return nil
	}
	return kept
}

// login is what user name logs in with; nil when he has no such name.
func (u *subscriber) login(name string) *login {
	for i := range u.logins {
		if u.logins[i].name == name {
			return &u.logins[i]
		}
	}
	return nil
}
