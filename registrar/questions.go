package registrar

import (
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// How many questions to others may be under way because strangers made us ask: in all, and of one office. Each costs
// a turn of the routing store and one of that office, and a REGISTER for a made-up user costs its sender nothing. Those
// who have registered here are not counted: a flood does not end a visit.
const (
	mostQuestions = 128
	mostOfOne     = 64 // so that an office that does not answer leaves room for the others
)

// questions counts them.
type questions struct {
	all     int
	offices map[roam.OfficeID]int
}

// begin counts one more; false: there are enough.
func (q *questions) begin() bool {
	if q.all >= mostQuestions {
		return false
	}
	q.all++
	return true
}

// about says that the one begun is for office o; false: that one is asked enough.
func (q *questions) about(o roam.OfficeID) bool {
	if q.offices[o] >= mostOfOne {
		return false
	}
	q.offices[o]++
	return true
}

// ask is begin and about in one.
func (q *questions) ask(o roam.OfficeID) bool {
	if !q.begin() {
		return false
	}
	if !q.about(o) {
		q.end("")
		return false
	}
	return true
}

// end is the end of one that was begun, for office o if that was said.
func (q *questions) end(o roam.OfficeID) {
	q.all--
	if q.offices[o] > 1 {
		q.offices[o]--
	} else {
		delete(q.offices, o)
	}
}

// stranger says that no registration came by f.
func (s *Server) stranger(f *sip.Flow) bool {
	t := s.flows[f.Flow]
	return t.len() == 0
}

// OnFailed has fn told of each flow of a phone that gave wrong credentials. It is called before the loop runs.
func (s *Server) OnFailed(fn func(f roam.Flow)) { s.onFailed = fn }
