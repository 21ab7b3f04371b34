package cli

import (
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"
)

// profileEnv names where an office shows its profiles, for who measures it: 127.0.0.1:6060. Nothing is
// served when it is empty. A profile tells what passes through memory, so it is loopback or nothing.
const profileEnv = "SIPROAM_PPROF"

var errNotLoopback = errors.New(profileEnv + " must be a loopback address and port, 127.0.0.1:6060")

// profile serves /debug/pprof/ at addr until the returned function is called.
func profile(addr string) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	if at, err := netip.ParseAddrPort(addr); err != nil || !at.Addr().IsLoopback() {
		return nil, errNotLoopback
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = s.Serve(l) }() // ends when stop closes l
	return func() { s.Close() }, nil
}
