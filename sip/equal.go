package sip

import (
	"net/netip"
	"strings"
)

// Equal compares by RFC 3261 19.1.4, and tel URIs by RFC 3966 5. Users are compared
// unescaped altogether: "%2B1" and "+1" are one user, which the letter of 19.1.4 leaves apart.
func (u URI) Equal(v URI) bool {
	if u.Scheme != v.Scheme || u.Password != v.Password || u.Port != v.Port || !sameHost(u.Host, v.Host) {
		return false
	}
	strict := u.Scheme == "tel"
	if u.User != v.User && !(strict && equalFold(u.User, v.User)) {
		return false
	}
	return agree(u.Params, v.Params, strict) && agree(v.Params, u.Params, strict) &&
		sameHeaders(u.Headers, v.Headers) && sameHeaders(v.Headers, u.Headers)
}

// sameHost compares names as text and addresses as addresses (RFC 5118 4.9).
func sameHost(a, b string) bool {
	if a == b {
		return true
	}
	x, err1 := netip.ParseAddr(strings.Trim(a, "[]"))
	y, err2 := netip.ParseAddr(strings.Trim(b, "[]"))
	return err1 == nil && err2 == nil && x.Unmap() == y.Unmap()
}

// agree says that each parameter of a is equal in b or, unless strict, absent there and
// of no weight.
func agree(a, b Params, strict bool) bool {
	if a == b {
		return true
	}
	for name, value := range a.all {
		other, found := b.Get(name)
		if found && !equalFold(unquote(value), other) || !found && (strict || weighty(name)) {
			return false
		}
	}
	return true
}

// weighty names the parameters that one URI cannot have and an equal one lack.
func weighty(name string) bool {
	for _, w := range [...]string{"transport", "user", "ttl", "method", "maddr"} {
		if equalFold(name, w) {
			return true
		}
	}
	return false
}

// sameHeaders says that each header of a stands in b, in any order.
func sameHeaders(a, b string) bool {
	if a == b {
		return true
	}
	for more := true; more; {
		var one string
		one, a, more = strings.Cut(a, "&")
		name, value, _ := strings.Cut(one, "=")
		if !hasHeader(b, plain(name), plain(value)) {
			return false
		}
	}
	return true
}

func hasHeader(s, name, value string) bool {
	for more := true; more; {
		var one string
		one, s, more = strings.Cut(s, "&")
		n, v, _ := strings.Cut(one, "=")
		if equalFold(plain(n), name) && plain(v) == value {
			return true
		}
	}
	return false
}
