package media

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
)

// TestFindings: SDP that broke other servers, as bodies of our own, named after the finding. It is refused, or passed on with
// our address and as many streams, however often it comes.
func TestFindings(t *testing.T) {
	const audio = head + "m=audio 17002 RTP/AVP 0\r\n"
	for _, f := range []struct {
		name, body string
		refused    bool
	}{
		{"CVE-2023-27596, OpenSIPS: the last line has no LF", head + "m=audio 17002 RTP/AVP 0 8\r\na=rtpmap:8 PCMA/8000", false},
		{"CVE-2023-27596, OpenSIPS: the last octet is a CR", audio + "a=sendrecv\r", false},
		{"CVE-2023-27600, OpenSIPS: an empty a=", audio + "a=\r\na=\r\na=", false},
		{"CVE-2023-27600, OpenSIPS: a= alone in the session", head + "a=\r\nm=audio 17002 RTP/AVP 0\r\n", false},
		{"CVE-2023-27601, OpenSIPS: fmtp and rtpmap without a type", audio + "a=fmtp:\r\na=rtpmap:\r\na=rtpmap\r\na=fmtp\r\n", false},
		{"CVE-2023-27601, OpenSIPS: rtpmap cut short", audio + "a=rtpmap:0\r\na=rtpmap:0 \r\na=rtpmap:0 PCMU\r\na=rtpmap:0 PCMU/\r\na=rtpmap:0 /8000\r\n", false},
		{"CVE-2023-27601, OpenSIPS: rtpmap of no type there is", audio + "a=rtpmap:99999999999 x/1\r\na=rtpmap:-1 x/1\r\na=fmtp:99999999999 x\r\n", false},
		{"CVE-2023-27601, OpenSIPS: a clock of 2^64", audio + "a=rtpmap:0 PCMU/18446744073709551616\r\n", false},
		{"CVE-2026-46334, OpenSIPS: b= without a colon", audio + "b=\r\nb=AS\r\nb=:\r\nb=AS:\r\n", false},
		{"CVE-2026-46334, OpenSIPS: b without =", audio + "b\r\n", true},
		{"CVE-2018-1000098, Asterisk: payload type 2^32", head + "m=audio 17002 RTP/AVP 4294967296\r\n", true},
		{"CVE-2018-1000098, Asterisk: payload type -1", head + "m=audio 17002 RTP/AVP -1\r\n", true},
		{"CVE-2018-1000098, Asterisk: payload type 128", head + "m=audio 17002 RTP/AVP 128\r\n", true},
		{"CVE-2018-1000099, Asterisk: fmtp with a NUL", audio + "a=fmtp\x00:101\r\n", true},
		{"CVE-2018-1000099, Asterisk: m= with a NUL", head + "m=audio\x00 17002 RTP/AVP 0\r\n", true},
		{"bd831dad, OpenSIPS: no body", "", true},
		{"4f65354b, OpenSIPS: a part of a multipart", "--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--\r\n", true},
		{"CVE-2026-110658, Sofia: 4,000 lines", audio + strings.Repeat("a=x\r\n", 4000), true},
		{"ES2025-01, rtpengine: media to everybody", bare + "c=IN IP4 255.255.255.255\r\nm=audio 17002 RTP/AVP 0\r\n", true},
	} {
		t.Run(f.name, func(t *testing.T) {
			o := origin{session: 1}
			for range 100 {
				d, err := parse([]byte(f.body))
				if f.refused {
					if !errors.Is(err, roam.NotAcceptable) {
						t.Fatalf("got %v, want %v", err, roam.NotAcceptable)
					}
					continue
				}
				if err != nil {
					t.Fatalf("got %v, want it read", err)
				}
				out := o.rewrite(d, netip.MustParseAddr("203.0.113.20"), ports20000(d))
				again, err := parse(out)
				if err != nil || len(again.streams) != len(d.streams) || again.streams[0].addr.String() != "203.0.113.20" {
					t.Fatalf("became %q: %v", out, err)
				}
			}
		})
	}
}
