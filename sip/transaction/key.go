package transaction

import (
	"bytes"
	"hash/maphash"
	"strconv"

	"github.com/siproam/siproam/sip"
)

// serverHash is serverKey in 64 bits.
func (l *Layer) serverHash(m *sip.Message, method sip.Method) uint64 {
	return maphash.Bytes(l.seed, l.serverKey(m, method))
}

// mergeHash is mergeKey in 64 bits, never 0.
func (l *Layer) mergeHash(m *sip.Message) uint64 {
	return max(maphash.Bytes(l.seed, l.mergeKey(m)), 1)
}

// clientHash names a client transaction (17.1.3): branch and method.
func (l *Layer) clientHash(branch []byte, method sip.Method) uint64 {
	l.key = append(append(l.key[:0], branch...), byte(method))
	return maphash.Bytes(l.seed, l.key)
}

// serverKey names a request's server transaction (17.2.3): method, sent-by, branch;
// ACK and CANCEL name the INVITE's (method says so). A request without the magic cookie
// is named as RFC 2543 does. The key is borrowed until the next one is asked for.
func (l *Layer) serverKey(m *sip.Message, method sip.Method) []byte {
	l.key = appendServerKey(l.key[:0], m, method)
	return l.key
}

func appendServerKey(k []byte, m *sip.Message, method sip.Method) []byte {
	branch := m.BranchText()
	k = append(k, byte(method))
	if method == sip.Other {
		k = append(append(k, m.MethodText()...), ' ')
	}
	if hasCookie(branch) {
		k = appendSentBy(k, m.SentBy())
		k = append(append(k, ' '), branch...)
	} else {
		k = append(append(k, "2543 "...), m.RequestURI()...)
		k = append(append(k, ' '), m.FromTag()...)
		k = append(append(k, ' '), m.CallID()...)
		k = strconv.AppendUint(append(k, ' '), uint64(m.CSeq()), 10)
		k = append(append(k, ' '), firstValue(m.Value(sip.Via))...)
		if method != sip.INVITE { // an ACK has the To tag of the answer
			k = append(append(k, ' '), m.ToTag()...)
		}
	}
	return k
}

// mergeKey is what requests have in common that came by several ways (8.2.2.2).
func (l *Layer) mergeKey(m *sip.Message) []byte {
	k := append(l.key[:0], m.Value(sip.CallID)...)
	k = append(append(k, ' '), m.Value(sip.CSeq)...)
	k = append(append(k, ' '), m.FromTag()...)
	l.key = k
	return k
}

// hasCookie says that a branch is unique by itself (8.1.1.7).
func hasCookie(branch []byte) bool {
	return len(branch) > len(sip.Cookie) && bytes.EqualFold(branch[:len(sip.Cookie)], []byte(sip.Cookie))
}

// firstValue is via up to its first comma.
func firstValue(via []byte) []byte {
	quoted := false
	for i, c := range via {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return via[:i]
		}
	}
	return via
}

// appendSentBy appends host and port of the topmost Via, in lower case and without blanks.
func appendSentBy(k, by []byte) []byte {
	for _, c := range by {
		switch {
		case c == ' ' || c == '\t':
		case 'A' <= c && c <= 'Z':
			k = append(k, c+'a'-'A')
		default:
			k = append(k, c)
		}
	}
	return k
}

// manyVias says that m has more than one Via, in one field or several.
func manyVias(m *sip.Message) bool {
	n := 0
	for range m.Values(sip.Via) {
		if n++; n > 1 {
			return true
		}
	}
	return false
}
