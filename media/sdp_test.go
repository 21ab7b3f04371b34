package media

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ports20000 gives the streams that are relayed 20000, 20002, ..., as Pass does.
func ports20000(d *description) []uint16 {
	ports := make([]uint16, len(d.streams))
	for i, s := range d.streams {
		if s.port != 0 && s.relayed() {
			ports[i] = uint16(20000 + 2*i)
		}
	}
	return ports
}

func TestRewriteGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/sdp/*.sdp")
	if err != nil || len(files) == 0 {
		t.Fatal("no bodies", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d, err := parse(in)
			if err != nil {
				t.Fatalf("got %v, want it read", err)
			}
			o := origin{session: 4711}
			got := o.rewrite(d, netip.MustParseAddr("203.0.113.20"), ports20000(d))
			golden := strings.TrimSuffix(file, ".sdp") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestVersionRisesWithChangeOnly(t *testing.T) {
	o := origin{session: 1}
	body := func(dir string) *description {
		d, err := parse([]byte("v=0\no=- 9 9 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\na=" + dir))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	told := netip.MustParseAddr("2001:db8::1")
	for i, step := range []struct{ dir, want string }{
		{"sendrecv", "o=- 1 1 IN IP6 2001:db8::1"},
		{"sendrecv", "o=- 1 1 IN IP6 2001:db8::1"},
		{"sendonly", "o=- 1 2 IN IP6 2001:db8::1"},
		{"sendrecv", "o=- 1 3 IN IP6 2001:db8::1"},
	} {
		got := string(o.rewrite(body(step.dir), told, []uint16{20000}))
		if !strings.Contains(got, step.want+"\r\n") {
			t.Errorf("body %d: got %q, want it to have %q", i, got, step.want)
		}
	}
}

const (
	head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
	bare = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
)

func TestRefused(t *testing.T) {
	for name, body := range map[string]string{
		"empty":                     "",
		"not SDP":                   "hello\r\n",
		"no version":                "o=- 1 1 IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n",
		"two versions":              head + "v=0\r\n",
		"payload type 2^32":         head + "m=audio 17002 RTP/AVP 4294967296\r\n",
		"payload type 128":          head + "m=audio 17002 RTP/AVP 128\r\n",
		"NUL in a name":             head + "m=audio 17002 RTP/AVP 0\r\na=fmtp\x00:101\r\n",
		"control character":         head + "m=audio 17002 RTP/AVP 0\r\na=fmtp\x01:101\r\n",
		"lone CR":                   head + "m=audio 17002 RTP/AVP 0\r\na=x\rc=IN IP4 203.0.113.1\r\n",
		"port 65536":                head + "m=audio 65536 RTP/AVP 0\r\n",
		"negative port":             head + "m=audio -1 RTP/AVP 0\r\n",
		"port range":                head + "m=audio 4000/2 RTP/AVP 0\r\n",
		"m= cut short":              head + "m=audio 4000\r\n",
		"no address":                bare + "m=audio 4000 RTP/AVP 0\r\n",
		"address of no kind":        bare + "c=IN IP4 192.0.2.999\r\nm=audio 4000 RTP/AVP 0\r\n",
		"bracketed address":         bare + "c=IN IP6 [2001:db8::1]\r\nm=audio 4000 RTP/AVP 0\r\n",
		"multicast":                 bare + "c=IN IP4 224.2.1.1/127\r\nm=audio 4000 RTP/AVP 0\r\n",
		"broadcast":                 bare + "c=IN IP4 255.255.255.255\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c= cut short":              bare + "c=IN IP4\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c= of a TTL alone":         bare + "c=IN IP4 /127\r\nm=audio 4000 RTP/AVP 0\r\n",
		"rtcp port":                 head + "m=audio 4000 RTP/AVP 0\r\na=rtcp:70000\r\n",
		"rtcp address":              head + "m=audio 4000 RTP/AVP 0\r\na=rtcp:4001 IN\r\n",
		"too many streams":          head + strings.Repeat("m=audio 4000 RTP/AVP 0\r\n", maxStreams+1),
		"too many lines":            head + strings.Repeat("a=x\r\n", maxLines),
		"too long":                  head + "a=" + strings.Repeat("x", maxBody) + "\r\n",
		"a line that is not a line": head + "m=audio 4000 RTP/AVP 0\r\n:\r\n",
	} {
		if _, err := parse([]byte(body)); !errors.Is(err, roam.NotAcceptable) {
			t.Errorf("%s: got %v, want %v", name, err, roam.NotAcceptable)
		}
	}
}

func TestCodecOfTheAnswer(t *testing.T) {
	names := func(body string) []payload {
		d, err := parse([]byte(head + body))
		if err != nil {
			t.Fatal(err)
		}
		return d.streams[0].payloads
	}
	offer := names("m=audio 4000 RTP/AVP 96 0 8 9 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n")
	for _, c := range []struct{ answer, want string }{
		{"m=audio 4000 RTP/AVP 8\r\n", "PCMA"},
		{"m=audio 4000 RTP/AVP 101 9 8\r\na=rtpmap:101 telephone-event/8000\r\n", "G722"},
		{"m=audio 4000 RTP/AVP 120\r\na=rtpmap:120 OPUS/48000/2\r\n", "OPUS"},
		{"m=audio 4000 RTP/AVP 13 0\r\n", "PCMU"},
		{"m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 speex/8000\r\na=rtpmap:x\r\na=rtpmap:97 y/0\r\n", ""},
	} {
		if got := codec(names(c.answer), offer); got != c.want {
			t.Errorf("%q: got %q, want %q", c.answer, got, c.want)
		}
	}
}

// FuzzSDP: what is read can be rewritten, what was rewritten can be read, and names no address but ours.
func FuzzSDP(f *testing.F) {
	files, _ := filepath.Glob("testdata/sdp/*.sdp")
	for _, file := range files {
		in, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(in)
	}
	f.Add([]byte(head + "m=audio 17002 RTP/AVP 4294967296\r\na=fmtp\x00:101\r\na=\r\nb=\r\na=rtcp:"))
	f.Add([]byte(head + "m=audio 65535 RTP/AVP 0\r\na=rtcp:1 IN IP4 192.0.2.9/3\r\na=rtcp:2\r\n"))
	told := netip.MustParseAddr("203.0.113.20")
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := parse(in)
		if err != nil {
			return
		}
		o := origin{session: 1}
		ports := ports20000(d)
		out := o.rewrite(d, told, ports)
		again, err := parse(out)
		if err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		if len(again.streams) != len(d.streams) {
			t.Fatalf("%q became %q: %d streams, want %d", in, out, len(again.streams), len(d.streams))
		}
		for i, s := range again.streams {
			if s.port != ports[i] {
				t.Errorf("%q became %q: port %d, want %d", in, out, s.port, ports[i])
			}
			if a := s.addr; a.IsValid() && a != told && !a.IsUnspecified() {
				t.Errorf("%q became %q: address %s, want ours", in, out, a)
			}
			if a := s.rtcp.Addr(); a.IsValid() && a != told {
				t.Errorf("%q became %q: RTCP to %s, want ours", in, out, a)
			}
		}
		var p origin
		p.session = 1
		if once := p.rewrite(again, told, ports); !bytes.Equal(once, out) {
			t.Errorf("%q became %q and then %q", in, out, once)
		}
	})
}
