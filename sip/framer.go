package sip

import (
	"bytes"

	"github.com/siproam/siproam/roam"
)

// Framer cuts a byte stream into messages by Content-Length (RFC 3261 18.3), and
// finds the keep-alives between them (RFC 5626 4.4.1). How the stream was cut into
// chunks makes no difference to what comes out. The zero Framer is ready.
//
//	f.Feed(b[:n])
//	for {
//		msg, ping, err := f.Next()
//		switch {
//		case err != nil: // parse msg, answer err if that is possible, close the stream
//		case ping: // send CRLF
//		case msg == nil: // read on
//		default: // parse msg
//		}
//	}
type Framer struct {
	// Client says that this end sends the pings, since it opened the stream: every
	// CRLF that comes is a pong, and none is a ping.
	Client bool
	Pongs  uint64 // that came, counted by a Client

	b       []byte
	next    int   // where in b the unread part begins
	scanned int   // octets of it that hold no end of headers
	total   int   // length of the message it begins with, 0: not known
	half    bool  // one CRLF came: another makes it a ping
	err     error // ends the stream
}

// Feed takes what was read. It copies b, and ends the life of every message that Next gave.
func (f *Framer) Feed(b []byte) {
	if f.next == len(f.b) && cap(f.b) > idleBuffer {
		f.b = nil // ten thousand quiet phones must not hold ten thousand long messages
	} else {
		f.b = f.b[:copy(f.b, f.b[f.next:])]
	}
	f.next = 0
	f.b = append(f.b, b...)
}

const idleBuffer = 4096

// Partial says that a message has begun and its end has not come. It is told after
// Next has given all there is.
func (f *Framer) Partial() bool { return f.next < len(f.b) }

// Next is the next whole message, or ping, or an error after which the stream must be
// closed. All zero: more must be read. The message borrows f's buffer until the next
// Feed. With an error, msg is what there is of the message (its headers), to
// answer from, or nil. The error is a *Refused with Close set; it repeats.
func (f *Framer) Next() (msg []byte, ping bool, err error) {
	if f.err != nil {
		return nil, false, f.err
	}
	if f.total == 0 {
		if ping, wait := f.keepAlive(); ping || wait {
			return nil, ping, nil
		}
		if head, err := f.head(); head == nil || err != nil {
			f.err = err
			return head, false, err
		}
	}
	rest := f.b[f.next:]
	if len(rest) < f.total {
		return nil, false, nil
	}
	msg = rest[:f.total:f.total]
	f.next += f.total
	f.total, f.scanned = 0, 0
	return msg, false, nil
}

// keepAlive takes the CRLFs that stand before a message. wait says that nothing else came.
func (f *Framer) keepAlive() (ping, wait bool) {
	for f.scanned == 0 {
		rest := f.b[f.next:]
		if len(rest) == 0 || len(rest) == 1 && rest[0] == '\r' {
			return false, true
		}
		if rest[0] != '\r' || rest[1] != '\n' {
			f.half = false
			return false, false
		}
		f.next += 2
		if f.Client {
			f.Pongs++
			continue
		}
		if f.half = !f.half; !f.half {
			return true, false
		}
	}
	return false, false
}

var endOfHeaders = []byte("\r\n\r\n")

// head looks for the end of the headers, nil when it has not come, and sets total.
func (f *Framer) head() (head []byte, err error) {
	rest := f.b[f.next:]
	if classes[rest[0]]&token == 0 {
		return nil, framing("not SIP")
	}
	from := max(0, f.scanned-len(endOfHeaders)+1)
	i := bytes.Index(rest[from:min(len(rest), MaxMessage)], endOfHeaders)
	f.scanned = min(len(rest), MaxMessage)
	if i < 0 {
		if len(rest) > MaxMessage {
			return nil, tooLarge()
		}
		return nil, nil
	}
	head = rest[:from+i+len(endOfHeaders)]
	n, refused := contentLength(head)
	if refused != nil {
		return head, refused
	}
	if f.total = len(head) + n; f.total > MaxMessage {
		return head, tooLarge()
	}
	return head, nil
}

func tooLarge() *Refused {
	return &Refused{Why: roam.BadRequest, Code: 513, Close: true}
}

// contentLength reads the length of the body out of a message's head. Any doubt about
// it is an error: two readers of one stream must never disagree where a message ends.
func contentLength(head []byte) (n int, refused *Refused) {
	n = -1
	lines, mine := 0, true // a fold of the start line is refused as one of Content-Length is
	for rest := head; len(rest) > 0; lines++ {
		end := bytes.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' {
			return 0, framing("bare CR or LF")
		}
		line := rest[:end-1]
		rest = rest[end+1:]
		switch {
		case lines == 0 || len(line) == 0:
		case isBlank(line[0]):
			if mine || len(trimLeft(line)) == 0 {
				return 0, framing("folded")
			}
		default:
			var value []byte
			if value, mine = lengthField(line); !mine {
				continue
			}
			v, ok := number(value, MaxMessage)
			if !ok || n >= 0 {
				return 0, framing("Content-Length")
			}
			n = int(v)
		}
	}
	switch {
	case bytes.Count(head, endOfHeaders[:1]) != lines:
		return 0, framing("bare CR or LF")
	case n < 0:
		return 0, framing("no Content-Length")
	}
	return n, nil
}

// lengthField is the value of a Content-Length; is says that line is one.
func lengthField(line []byte) (value []byte, is bool) {
	if c := line[0] | 0x20; c != 'c' && c != 'l' {
		return nil, false
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	return trim(value), lookup(view(trimRight(name))) == ContentLength
}
