// Package e2e holds the tests that drive the built binary as its users do. The plain ones
// need Go only and use package phone; those behind the build tag endpoints drive baresip,
// SIPp, redis-server, tshark and sqlite3 inside a network namespace of their own
// (`make test` starts them there).
package e2e
