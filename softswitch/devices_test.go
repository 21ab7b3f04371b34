package softswitch

import (
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// devices: many. Bob's desk phone is at home, his softphone at south: his calls come to home, which rings both. Whoever calls from
// wherever, and though both answer within a millisecond, there is one call and one record that bob answered it, at the office where he did.
func TestDeskAndSoftphone(t *testing.T) {
	for _, from := range []roam.OfficeID{"north", "south", "west"} {
		for _, late := range []time.Duration{0, time.Millisecond, time.Second} {
			for _, first := range []string{"desk", "softphone"} {
				name := string(from) + ", " + first + " answers first by " + late.String()
				t.Run(name, func(t *testing.T) {
					world(t, func(t *testing.T, net *network, north, south, west *office) {
						soft := net.phone(bob, "198.51.100.3:5060").register(south, "north", 10)
						desk := net.phone(bob, "198.51.100.2:5060").register(north, "", 12)
						line := south.dir.lines[bob] // as home has told south, with the softphone's visit or since
						line.Epoch = 13
						south.dir.lines[bob] = line
						net.router.locs[bob] = roam.Location{Epoch: 13, Office: "north", Switch: north.sw.cfg.Card.Switch}
						caller, at := map[roam.OfficeID]roam.UserID{"north": alice, "south": carol, "west": dave}[from], net.offices[from]
						a := net.phone(caller, "198.51.100.1:5060").register(at, "", 1)
						desk.answer, soft.answer = ringOnly, ringOnly
						a.call("+15550001002", "offer")
						net.pass(time.Second)
						if len(desk.invited) != 1 || len(soft.invited) != 1 {
							t.Fatalf("the desk phone rang %d times, the softphone %d, want once each", len(desk.invited), len(soft.invited))
						}
						winner, loser := desk, soft
						if first == "softphone" {
							winner, loser = soft, desk
						}
						winner.do(func() { winner.answerNow("first") })
						net.pass(late)
						loser.do(func() {
							if len(loser.ended) == 0 {
								loser.answerNow("second")
							}
						})
						net.pass(3 * time.Second)
						ended := len(desk.ended) + len(soft.ended)
						if oks := count(a.got, 200); oks != 1 || ended != 1 || len(a.ended) != 0 {
							t.Errorf("the caller got %v and ended %v, of the phones %d ended, want one 200 and one end", a.got, a.ended, ended)
						}
						a.bye()
						net.pass(3 * time.Second)
						answered := 0
						for _, o := range net.offices {
							o.do(func() {
								for _, r := range o.rows {
									if r.User == bob && !r.Answered.IsZero() && r.Kind != roam.Transit { // what home has only passed on
										answered++
									}
								}
								if len(o.sw.calls) > 0 {
									t.Errorf("%s still has %d calls", o.id, len(o.sw.calls))
								}
							})
						}
						if answered != 1 {
							t.Errorf("%d records say that bob answered, want one", answered)
						}
					})
				})
			}
		}
	}
}

// count is how many of codes are code.
func count(codes []int, code int) (n int) {
	for _, c := range codes {
		if c == code {
			n++
		}
	}
	return n
}
