package transport

import (
	"sync"

	"github.com/siproam/siproam/sip"
)

// maxBatch is the most messages handed over at once, and the most datagrams of one
// recvmmsg or sendmmsg.
const maxBatch = 32

// maxArena is the most octets of a batch kept for the next one.
const maxArena = 256 << 10

// batch is what one read brought: the messages' octets, copied close together out of
// the reader's large buffers, and their indexes, reused.
type batch struct {
	octets  []byte
	all     [maxBatch]*sip.Message
	n       int // of all, read so far
	w       sip.Writer
	release func()
}

func newBatch(pool *sync.Pool) *batch {
	b := &batch{}
	for i := range b.all {
		b.all[i] = new(sip.Message)
	}
	b.release = func() {
		if cap(b.octets) > maxArena {
			b.octets = nil
		}
		b.octets, b.n = b.octets[:0], 0
		pool.Put(b)
	}
	return b
}

// keep copies raw. Where octets must grow, earlier messages keep the array they are in.
func (b *batch) keep(raw []byte) []byte {
	at := len(b.octets)
	b.octets = append(b.octets, raw...)
	return b.octets[at:len(b.octets):len(b.octets)]
}

func (b *batch) full() bool { return b.n == maxBatch }
