package sip

import "bytes"

// Amplifies says that an answer is more than half as long again as its request: sent to whoever says to be at
// some address, it would make us a lever against whoever is.
func Amplifies(req *Message, answer []byte) bool { return 2*len(answer) > 3*len(req.Bytes()) }

// essential are the header fields of a refusal without which it is none, or is of no use; of several challenges
// the first will do.
var essential = []string{"Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: ", "Min-Expires: ", "Retry-After: ", "Content-Length: 0"}

var challenges = []string{"WWW-Authenticate: ", "Proxy-Authenticate: "}

// Shorten appends to dst an answer that a Writer wrote, without a body, but for the header fields it can do without.
func Shorten(dst, answer []byte) []byte {
	line, rest, _ := bytes.Cut(answer, []byte("\r\n"))
	dst = append(append(dst, line...), "\r\n"...)
	challenged := false
	begins := func(names []string) bool {
		for _, n := range names {
			if bytes.HasPrefix(line, []byte(n)) {
				return true
			}
		}
		return false
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		challenge := begins(challenges)
		if len(line) == 0 || begins(essential) || challenge && !challenged {
			dst = append(append(dst, line...), "\r\n"...)
		}
		challenged = challenged || challenge
	}
	return dst
}
