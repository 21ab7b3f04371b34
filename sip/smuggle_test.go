package sip_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

const (
	outerHead = "INVITE sip:1002@north.example SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK1\r\nFrom: <sip:1001@north.example>;tag=f\r\n" +
		"To: <sip:1002@north.example>\r\nCall-ID: outer\r\nCSeq: 1 INVITE\r\nContact: <sip:1001@192.0.2.1>\r\n"
	innerHead = " sip:north.example SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.66;branch=z9hG4bK2\r\nFrom: <sip:1001@north.example>;tag=g\r\nTo: <sip:1001@north.example>\r\n" +
		"Call-ID: smuggled\r\nP-Asserted-Identity: <sip:boss@north.example>\r\nRoam-Epoch: 9\r\nContact: <sip:evil@192.0.2.66>\r\n"
	after = "OPTIONS sip:north.example SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK3\r\nFrom: <sip:1001@north.example>;tag=f\r\n" +
		"To: <sip:north.example>\r\nCall-ID: after\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)

// inner is a message with what only partners may say, for another reader to find.
func inner(method string) string {
	return method + innerHead + "CSeq: 1 " + method + "\r\nContent-Length: 0\r\n\r\n"
}

// heard is the Call-IDs of the messages that a stream's reader hands on, and whether it then closes the stream.
func heard(stream string, cut func(rest int) int) (ids []string, closed bool) {
	var f sip.Framer
	for stream != "" {
		n := min(max(cut(len(stream)), 1), len(stream))
		f.Feed([]byte(stream[:n]))
		stream = stream[n:]
		for {
			b, ping, err := f.Next()
			if err != nil {
				return ids, true
			}
			if b == nil && !ping {
				break
			}
			if b == nil {
				continue
			}
			var m sip.Message
			if err := sip.Parse(b, &m); err == nil {
				ids = append(ids, m.CallID())
				continue
			} else if r := new(sip.Refused); errors.As(err, &r) && r.Close {
				return ids, true
			}
		}
	}
	return ids, false
}

// TestSmuggling: a message that another reader might find in a stream is never served. What is in doubt is refused and
// ends the stream; what is not is a body. It makes no difference how the stream was cut. In a datagram it is never more
// than what comes after the message.
func TestSmuggling(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	tried, refused := 0, 0
	for _, method := range []string{"REGISTER", "INVITE"} {
		for _, v := range siptest.Smuggle(outerHead, inner(method)) {
			tried++
			want := "[outer after] false"
			if !v.Whole {
				refused++
				want = "[] true"
			}
			for range 3 {
				ids, closed := heard(v.Bytes+after, func(rest int) int { return 1 + random.IntN(rest) })
				if got := fmt.Sprint(ids, closed); got != want {
					t.Errorf("%s (seed %d): got %s, want %s\n%q", v.Name, seed, got, want, v.Bytes)
					break
				}
			}
			var m sip.Message
			if sip.Parse([]byte(v.Bytes), &m) == nil && (m.CallID() != "outer" || m.Value(sip.PAssertedIdentity) != nil || m.Value(sip.RoamEpoch) != nil) {
				t.Errorf("%s as a datagram: got %s with %q, want nothing of the inner message\n%q", v.Name, m.CallID(), m.Value(sip.PAssertedIdentity), v.Bytes)
			}
		}
	}
	if tried < 2000 || refused < 1500 {
		t.Errorf("tried %d with %d in doubt, want more", tried, refused)
	}
	t.Logf("%d variants, %d of them refused", tried, refused)
}

// TestSmugglingIsSeen: the test above would see what a lax reader takes for a message.
func TestSmugglingIsSeen(t *testing.T) {
	v := strings.TrimSuffix(outerHead, "\r\n") + "\r\nContent-Length: 0\r\n\r\n" + inner("REGISTER")
	if ids, _ := heard(v, func(rest int) int { return rest }); fmt.Sprint(ids) != "[outer smuggled]" {
		t.Errorf("got %v, want both messages of a stream that has two", ids)
	}
}
