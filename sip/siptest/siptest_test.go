package siptest

import "testing"

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"A\nB: c\n", "A\r\nB: c\r\nContent-Length: 0\r\n\r\n"},
		{"A\r\nB: c\r\n\r\n", "A\r\nB: c\r\nContent-Length: 0\r\n\r\n"},
		{"A\nl: 9\n\nbody\n", "A\r\nl: 9\r\n\r\nbody\r\n"},
		{"A\n\nv=0\no=x\n", "A\r\nContent-Length: 10\r\n\r\nv=0\r\no=x\r\n"},
		{`
			A
			B: c
			  d

			v=0
			`, "A\r\nB: c\r\n  d\r\nContent-Length: 5\r\n\r\nv=0\r\n"},
	} {
		if got := string(Text(tt.in)); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}
