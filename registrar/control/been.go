package control

import (
	"slices"
	"strconv"
	"time"

	"github.com/siproam/siproam/roam"
)

// Been is a stay at another office that is over. It says, of a charging record that comes days later, whether that
// office served the user then (M8).
type Been struct {
	Office roam.OfficeID `json:"office"`
	From   int64         `json:"from"` // Unix milliseconds
	To     int64         `json:"to"`
}

const (
	mostBeen    = 32
	beenFor     = 40 * 24 * time.Hour // longer than records wait for a home that is away
	sameStay    = 15 * time.Minute    // who comes back so soon has not been away
	clocksMayBe = 10 * time.Minute    // apart: the record has the visited office's time
)

// began is when home checked the device, which its epoch says: home's clock in microseconds (DESIGN 6).
func (p *Presence) began() int64 { return int64(p.Epoch) / 1000 }

// over notes that p's stay is over.
func (h *Home) over(now time.Time, to *Kept, p *Presence) {
	if p.Office == h.Office.Here.Office {
		return
	}
	to.Been = slices.DeleteFunc(slices.Clone(to.Been), func(b Been) bool { return now.UnixMilli()-b.To > beenFor.Milliseconds() })
	for i := range to.Been {
		if b := &to.Been[i]; b.Office == p.Office && p.began()-b.To < sameStay.Milliseconds() {
			b.From, b.To = min(b.From, p.began()), now.UnixMilli()
			return
		}
	}
	if len(to.Been) >= mostBeen {
		to.Been = to.Been[1:]
	}
	to.Been = append(to.Been, Been{p.Office, p.began(), now.UnixMilli()})
}

// Served says that the user was at office at that time, as far as is remembered.
func (h *Home) Served(office roam.OfficeID, at time.Time) bool {
	when, slack := at.UnixMilli(), clocksMayBe.Milliseconds()
	for i := range h.At {
		if p := &h.At[i]; p.Office == office && when >= p.began()-slack {
			return true
		}
	}
	return slices.ContainsFunc(h.Been, func(b Been) bool { return b.Office == office && b.From-slack <= when && when <= b.To+slack })
}

// appendJSON appends what json.Marshal makes of b.
func (b *Been) appendJSON(to []byte) []byte {
	to = appendText(append(to, `{"office":`...), string(b.Office))
	to = strconv.AppendInt(append(to, `,"from":`...), b.From, 10)
	return append(strconv.AppendInt(append(to, `,"to":`...), b.To, 10), '}')
}
