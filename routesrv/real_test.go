//go:build endpoints

package routesrv

import (
	"os"
	"testing"
)

// TestRedis is the suite on the real Redis at SIPROAM_TEST_REDIS, "127.0.0.1:6399", which
// it empties again and again; `make test` starts one for it.
func TestRedis(t *testing.T) {
	addr := os.Getenv("SIPROAM_TEST_REDIS")
	if addr == "" {
		t.Fatal("SIPROAM_TEST_REDIS is not set: run make test")
	}
	for name, test := range suite {
		t.Run(name, func(t *testing.T) {
			if err := client(t, addr).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			test(t, addr)
		})
	}
}
