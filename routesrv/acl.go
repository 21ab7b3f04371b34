package routesrv

import (
	"fmt"
	"regexp"
	"strings"
)

// What an office does with Redis. It may read all of roam:*, and write
//   - its own keys: its card, the signs of life of its softswitches, the records that come to it, the acknowledgements to it and by it;
//   - the names of its own users, as far as they are given;
//   - a record more to the stream of any home, but nothing else there;
//   - the location of anybody: who serves a visitor writes where he is. What is not by his home's word readers see by its
//     signature (routes.trust: signed).
const (
	aclReads = "auth hello ping select client|setname command readonly cluster|slots cluster|shards " + // the client's
		"get exists pttl ttl time wait hget hgetall hmget hlen xlen xrange xrevrange xread xpending xinfo|groups scan multi exec publish subscribe unsubscribe script|load"
	aclOwn       = "set hset hdel del expire pexpire eval evalsha xadd xdel xreadgroup xack xautoclaim xclaim xgroup|create"
	aclOwnKeys   = "roam:office:{OFFICE} roam:sw:{OFFICE} roam:sw:{OFFICE:*} roam:sw:{OFFICE/*} roam:cdr:{OFFICE} roam:cdrack:{OFFICE}:* roam:cdrack:{OFFICE/*}:* roam:cdrack:{*}:OFFICE"
	aclLocation  = "eval evalsha hset del set expire xadd"
	aclLocations = "roam:loc:* roam:ep:* roam:moves:*"
)

// digits is a pattern of numbers, as in the dialling plan.
var digits = regexp.MustCompile(`^\+?[0-9]*x*$`)

// domain is a host name; an "@" makes it a name of users.
var domain = regexp.MustCompile(`^@[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// ACL is the line for Redis 7 that makes the user of an office: it can read what all offices share, write what an office
// must, and nothing else of the server. names are those that its users have: "@south.example", "+15550002xxx", "2xxx"; none
// leaves it all names. PASSWORD is for the operator to put in.
func ACL(office string, names ...string) (string, error) {
	users := []string{"roam:id:*", "roam:ext:*"}
	for i, name := range names {
		key := ""
		switch pattern := strings.ReplaceAll(name, "x", "[0-9]"); {
		case domain.MatchString(name):
			key = idKey("*" + name)
		case name == "" || !digits.MatchString(name):
			return "", fmt.Errorf("%q is no name of users: want @domain, +15550002xxx or 2xxx", name)
		case strings.HasPrefix(name, "+"):
			key = idKey(pattern)
		default:
			key = extKey(pattern)
		}
		if i == 0 {
			users = nil
		}
		users = append(users, key)
	}
	own := append(strings.Fields(strings.ReplaceAll(aclOwnKeys, "OFFICE", office)), users...)
	words := []string{"ACL SETUSER", "siproam-" + office, "reset on >PASSWORD %R~roam:* resetchannels &" + channel, "-@all"}
	words = append(words, rights(aclReads)...)
	for _, s := range []struct {
		keys     []string
		commands string
	}{{own, aclOwn}, {strings.Fields(aclLocations), aclLocation}, {[]string{cdrKey("*")}, "xadd"}} {
		words = append(words, "("+strings.Join(append(rights(s.commands), "~"+strings.Join(s.keys, " ~")), " ")+")")
	}
	return strings.Join(words, " "), nil
}

// rights is commands as ACL words.
func rights(commands string) (words []string) {
	for c := range strings.FieldsSeq(commands) {
		words = append(words, "+"+c)
	}
	return words
}
