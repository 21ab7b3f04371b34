package transaction

import (
	"errors"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// answersIn is how long another office has to answer a question that costs it nothing.
const answersIn = 2 * time.Second

// errWrongOffice says that a flow leads to another office than it should: nothing is sent there.
var errWrongOffice = errors.New("the other end is not that office")

// Answers asks, as from, whether office o answers at all at uri (OPTIONS, RFC 3261 11). On the loop; done comes within 2 s, and once
// more, with true, when the answer is later than that: a way that has just come back is slow, and still is one.
func (l *Layer) Answers(from string, o roam.OfficeID, uri string, done func(bool)) {
	u, err := sip.ParseURI([]byte(uri))
	if err != nil {
		l.loop.Later(func() { done(false) })
		return
	}
	said := false
	say := func(answered bool) {
		if answered || !said {
			said = true
			done(answered)
		}
	}
	late := l.loop.After(answersIn, func() { say(false) })
	l.Request(Destination{URI: u}, func(w *sip.Writer, f *sip.Flow) error {
		if f.Partner != o {
			return errWrongOffice
		}
		w.Request("OPTIONS", uri)
		w.AddInt(sip.MaxForwards, 70)
		w.Add(sip.From, "<"+from+">;tag="+NewTag())
		w.Add(sip.To, "<"+uri+">")
		w.Add(sip.CallID, NewTag())
		w.Add(sip.CSeq, "1 OPTIONS")
		return w.End("", nil)
	}, func(_ *sip.Message, err error) {
		late.Stop()
		say(err == nil)
	})
}
