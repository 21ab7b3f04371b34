package routesrv

import "strings"

// What an office does with Redis: commands, and keys it must write. It may read all of roam:*.
var (
	aclCommands = []string{
		"auth", "hello", "ping", "select", "client|setname", "command", "readonly", "cluster|slots", "cluster|shards", // the client's
		"get", "set", "exists", "expire", "pexpire", "pttl", "ttl", "time", "wait", "hget", "hgetall", "hmget", "hset", "hdel", "hlen", "del",
		"eval", "evalsha", "script|load", "publish", "subscribe", "unsubscribe",
		"xadd", "xdel", "xlen", "xrange", "xrevrange", "xread", "xreadgroup", "xack", "xautoclaim", "xclaim", "xpending", "xinfo|groups", "xgroup|create",
		"scan", "multi", "exec",
	}
	aclWrites = []string{"roam:loc:*", "roam:ep:*", "roam:moves:*", "roam:id:*", "roam:ext:*", "roam:office:{OFFICE}", "roam:sw:*", "roam:cdr:*", "roam:cdrack:*"}
)

// ACL is the line for Redis 7 that makes the user of an office: it can read what all offices share, write what an office
// must, and nothing else of the server. PASSWORD is for the operator to put in.
func ACL(office string) string {
	words := []string{"ACL SETUSER", "siproam-" + office, "reset on >PASSWORD resetkeys %R~roam:*"}
	for _, k := range aclWrites {
		words = append(words, "~"+strings.ReplaceAll(k, "OFFICE", office))
	}
	words = append(words, "resetchannels &"+channel, "-@all")
	for _, c := range aclCommands {
		words = append(words, "+"+c)
	}
	return strings.Join(words, " ")
}
