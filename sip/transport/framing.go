package transport

import (
	"github.com/gobwas/ws"

	"github.com/siproam/siproam/sip"
)

// unframer finds the messages in what a connection brings. How that was cut into reads
// makes no difference.
type unframer interface {
	// Feed takes what was read. It copies b.
	Feed(b []byte)
	// Next is the next whole message, valid until the next call of either, or the answer to a
	// keep-alive, which is not nil but may be empty, or an error after which the connection must
	// be ended; then msg is what there is to answer from. All nil: more must be read.
	Next() (msg, answer []byte, err error)
	// Partial says that a message has begun and its end has not come.
	Partial() bool
}

// framer puts messages of ours into what a connection takes. It is called by whoever sends.
type framer interface {
	// wrap appends msg as it goes over the wire.
	wrap(dst, msg []byte) []byte
	// last appends what is said before the end; code is why.
	last(dst []byte, code ws.StatusCode) []byte
	// ask is a keep-alive that a living end answers; nil: there is none.
	ask() []byte
}

// stream is the framing of TCP and TLS: one message behind the other, told apart by Content-Length.
type stream struct{ sip.Framer }

func (s *stream) Next() (msg, answer []byte, err error) {
	msg, ping, err := s.Framer.Next()
	if ping {
		answer = pong
	}
	return msg, answer, err
}

func (s *stream) wrap(dst, msg []byte) []byte             { return append(dst, msg...) }
func (s *stream) last(dst []byte, _ ws.StatusCode) []byte { return dst }
func (s *stream) ask() []byte                             { return nil }
