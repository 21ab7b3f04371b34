package sip

import (
	"strings"

	"github.com/siproam/siproam/roam"
)

// AOR is a public address in canonical form: "user@host", or "+15550001001"
// for a global number of a tel URI; no scheme, no parameters, no port (10.3).
// What need not be escaped in the user is not.
type AOR string

// AOR is u in canonical form. A bare host is one: "north.example". A tel URI of a local
// number is one in its phone-context when that is a domain; otherwise it is roam.Incomplete.
func (u URI) AOR() (AOR, error) {
	switch {
	case u.Scheme == "tel":
		return u.number()
	case u.Host == "":
		return "", bad("URI")
	case u.User == "":
		return AOR(trimDot(u.Host)), nil
	}
	user := u.User
	if kind, _ := u.Params.Get("user"); user[0] == '+' && equalFold(kind, "phone") {
		user = digits(user) // 19.1.6
	}
	return AOR(escape(make([]byte, 0, len(user)+1+len(u.Host)), user, userMarks)) + "@" + AOR(trimDot(u.Host)), nil
}

func (u URI) number() (AOR, error) {
	if u.User != "" && u.User[0] == '+' {
		return AOR(u.User), nil
	}
	context, _ := u.Params.Get("phone-context")
	host, rest, ok := cutHost(context)
	if !ok || rest != "" {
		return "", &Refused{Why: roam.Incomplete}
	}
	return AOR(escape(nil, u.User, userMarks)) + "@" + AOR(trimDot(host)), nil
}

func trimDot(host string) string { return strings.TrimSuffix(host, ".") }

// User is the part before "@"; all of a number.
func (a AOR) User() string {
	user, _, _ := strings.Cut(string(a), "@")
	return user
}

// Host is the part after "@", "" for a number.
func (a AOR) Host() string {
	_, host, _ := strings.Cut(string(a), "@")
	return host
}
