package transaction

import (
	"slices"
	"testing"
	"time"

	"github.com/siproam/siproam/sip"
)

// TestAnswersLate: who does not answer within 2 s is said not to; when he does after all, that is said too.
func TestAnswersLate(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  []bool
	}{{time.Second, []bool{true}}, {3 * time.Second, []bool{false, true}}, {0, []bool{false}}} {
		run(t, time.Minute, nil, func(t *testing.T, o *office) {
			old := partner(7)
			o.toPartner(old, old, nil)
			var got []bool
			o.Do(func() {
				o.Answers("sip:north", "south", "sip:sip.south.example;transport=tls", func(answered bool) { got = append(got, answered) })
			})
			ask := o.One()
			if c.after > 0 {
				o.Sleep(c.after)
				o.Answer(ask, "200 OK", "2")
			}
			o.Sleep(40 * time.Second)
			if ask.Header(sip.CSeq) != "1 OPTIONS" || !slices.Equal(got, c.want) {
				t.Errorf("after %v: got %v, want %v", c.after, got, c.want)
			}
		})
	}
}
