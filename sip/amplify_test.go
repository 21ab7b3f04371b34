package sip

import "testing"

// A short answer is an answer: what it has lost is what a phone can do without.
func TestShorten(t *testing.T) {
	var w Writer
	req := new(Message)
	if err := Parse([]byte("OPTIONS sip:b@example.org SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK2\r\n"+
		"From: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"), req); err != nil {
		t.Fatal(err)
	}
	req.Flow = &Flow{}
	write := func(fields ...Field) string {
		w.Response(req, 401, "", "t")
		w.AddFields(fields)
		if err := w.End("", nil); err != nil {
			t.Fatal(err)
		}
		return string(w.Bytes())
	}
	want := write(Field{WWWAuthenticate, "Digest one"}, Field{RetryAfter, "5"})
	long := write(Field{Allow, "INVITE"}, Field{WWWAuthenticate, "Digest one"}, Field{WWWAuthenticate, "Digest two"}, Field{RetryAfter, "5"}, Field{Warning, "399 us no"})
	if got := string(Shorten(nil, []byte(long))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := Parse(Shorten(nil, []byte(long)), new(Message)); err != nil {
		t.Error(err)
	}
	n := len(req.Bytes())
	for _, c := range []struct {
		answer int
		want   bool
	}{{0, false}, {n, false}, {n * 3 / 2, false}, {n*3/2 + 1, true}} {
		if got := Amplifies(req, make([]byte, c.answer)); got != c.want {
			t.Errorf("%d octets to %d: got %v, want %v", c.answer, n, got, c.want)
		}
	}
}
