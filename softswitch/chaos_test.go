package softswitch

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// TestChaos has phones of three offices call each other at random over lines that lose one message in
// eight, answer or not, hold, cancel, hang up and vanish. Whatever happens: nothing is left, and every
// call has left each of its records once, closed.
func TestChaos(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			world(t, func(t *testing.T, net *network, north, south, west *office) {
				chaos(net, rand.New(rand.NewPCG(seed, 1)), north, south, west)
			})
		})
	}
}

func chaos(net *network, r *rand.Rand, north, south, west *office) {
	var mu sync.Mutex // the phones' loops draw from one source
	draw := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
	lossy := func(string) bool { return draw(8) == 0 }
	var phones []*phone
	for i := range 12 {
		user := roam.UserID(fmt.Sprintf("%d00%d@%s", i%3+1, i/3+1, [...]string{"north.example", "south.example", "west.example"}[i%3]))
		at := []*office{north, south, west}[draw(3)]
		home := roam.OfficeID([...]string{"north", "south", "west"}[i%3])
		if home == at.id {
			home = ""
		}
		p := net.phone(user, fmt.Sprintf("198.51.100.%d:5060", i+1))
		p.register(at, home, roam.Epoch(10+i))
		p.answer, p.onLater = someAnswer(draw), someLater(draw)
		p.lose = lossy
		p.onOK = func() { p.d.Ack("", nil) }
		phones = append(phones, p)
	}
	for _, o := range []*office{north, south, west} {
		o.shaky = func() bool { return draw(8) == 0 } // down to phones; offices speak TLS to each other
	}
	for range 60 {
		p := phones[draw(len(phones))]
		switch draw(8) {
		case 0, 1, 2, 3:
			offer := "offer"
			if draw(4) == 0 {
				offer = ""
			}
			p.call(numberOf(phones[draw(len(phones))].user), offer)
		case 4, 5:
			p.do(func() {
				if p.d != nil {
					p.d.Bye(0, "")
				}
			})
		case 6:
			p.do(func() {
				if p.d != nil && p.d.Confirmed() {
					d := p.d
					d.Request(sip.INVITE, dialog.Answer{Type: sdpType, Body: []byte("hold")}, func(res *sip.Message, err error) {
						if err == nil && res.Status()/100 == 2 {
							d.Ack("", nil)
						}
					})
				}
			})
		case 7:
			p.do(func() { p.lose = func(string) bool { return true } })
			net.pass(time.Duration(draw(40)) * time.Second)
			p.do(func() { p.lose = lossy })
		}
		net.pass(time.Duration(draw(5000)) * time.Millisecond)
	}
	for _, p := range phones {
		p.do(func() {
			p.lose = nil
			for _, d := range p.dialogs {
				d.Bye(0, "")
			}
		})
	}
	net.pass(5 * time.Minute)
	records := 0
	for _, o := range []*office{north, south, west} {
		o.do(func() {
			records += len(o.rows)
			o.shaky = nil
			for _, c := range o.sw.calls { // a phone that vanished for good: its media tells
				c.bridge.(*fakeBridge).silent()
			}
		})
	}
	net.pass(time.Minute)
	if records < 20 {
		net.t.Errorf("%d records in all, which shows little", records)
	}
}

// someAnswer is a phone that rings and answers, or not.
func someAnswer(draw func(int) int) func(p *phone, tx *transaction.Server) {
	return func(p *phone, tx *transaction.Server) {
		d := p.d
		p.dialogs = append(p.dialogs, d)
		if draw(6) == 0 {
			d.Respond(tx, dialog.Answer{Code: []int{486, 603, 480, 500, 302}[draw(5)]})
			return
		}
		d.Respond(tx, dialog.Answer{Code: 180})
		if draw(4) == 0 {
			return
		}
		p.loop.After(time.Duration(draw(8000))*time.Millisecond, func() {
			if !tx.Answered() {
				d.Respond(tx, dialog.Answer{Code: 200, Type: sdpType, Body: []byte("answer")})
			}
		})
	}
}

// someLater answers what comes in a dialog.
func someLater(draw func(int) int) func(p *phone, tx *transaction.Server, req *sip.Message) {
	return func(p *phone, tx *transaction.Server, req *sip.Message) {
		if d := p.d; d != nil && req.Method() == sip.INVITE && draw(3) > 0 {
			for _, d := range append(p.dialogs, p.d) {
				if callID, local, _ := d.ID(); callID == req.CallID() && local == req.ToTag() {
					d.Respond(tx, dialog.Answer{Code: 200, Type: sdpType, Body: []byte("answer")})
					return
				}
			}
		}
		tx.Refuse(&sip.Refused{Why: roam.NotAcceptable})
	}
}
