package transaction

import (
	"crypto/rand"
	"sync"
)

// A call needs seven random names. Asking the system for each cost a system call and two strings; they
// are cut from octets of crypto/rand read ahead instead (BenchmarkTag).

// How many letters of 5 random bits each our names have.
const (
	tagSize    = 16
	branchSize = 26
	callIDSize = 32
)

// ahead is random octets for later; each is used once.
var ahead struct {
	sync.Mutex // guards octets and left
	octets     [1024]byte
	left       int
}

// appendToken appends n random letters, at most as many as are read ahead at once.
func appendToken(b []byte, n int) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	ahead.Lock()
	defer ahead.Unlock()
	if ahead.left < n {
		_, _ = rand.Read(ahead.octets[:]) // never fails
		ahead.left = len(ahead.octets)
	}
	used := ahead.octets[ahead.left-n : ahead.left]
	for _, c := range used {
		b = append(b, letters[c&31])
	}
	clear(used)
	ahead.left -= n
	return b
}

// NewTag is a tag of 80 random bits (19.3).
func NewTag() string {
	var room [tagSize]byte
	return string(appendToken(room[:0], tagSize))
}

// NewCallID is a Call-ID of 160 random bits (8.1.1.4).
func NewCallID() string {
	var room [callIDSize]byte
	return string(appendToken(room[:0], callIDSize))
}
