package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/siproam/siproam/office"
)

// laneWidth is how far apart two lanes of a ladder are; a label must fit between them.
const laneWidth = 22

// ladder draws messages as arrows between lanes: the phones, then the offices.
type ladder struct {
	out   io.Writer
	here  []string // offices whose messages are seen
	lanes []string
	lines int // since the heading
}

func newLadder(out io.Writer, offices []string) *ladder {
	return &ladder{out: out, here: offices, lanes: append([]string{"phones"}, offices...)}
}

// draw draws one message. What goes from one seen office to another is drawn once, when it is sent.
func (l *ladder) draw(s office.Seen) error {
	far := "phones"
	if s.Partner != "" {
		far = string(s.Partner)
		if !s.Sent && slices.Contains(l.here, far) {
			return nil
		}
	}
	if !slices.Contains(l.lanes, far) {
		l.lanes, l.lines = append(l.lanes, far), 0
	}
	if l.lines%40 == 0 {
		l.heading()
	}
	l.lines++
	from, to := slices.Index(l.lanes, far), slices.Index(l.lanes, s.Office)
	if s.Sent {
		from, to = to, from
	}
	if s.Dropped > 0 {
		fmt.Fprintf(l.out, "%d messages not shown: they came faster than they could be read\n", s.Dropped)
	}
	_, err := fmt.Fprintf(l.out, "%s  %s  %s\n", s.Time.Local().Format("15:04:05.000"), l.arrow(from, to, label(s)), about(s))
	return err
}

// heading names the lanes.
func (l *ladder) heading() {
	var b strings.Builder
	for _, name := range l.lanes {
		fmt.Fprintf(&b, "%-*s", laneWidth, name)
	}
	fmt.Fprintf(l.out, "%12s  %s\n", "", strings.TrimRight(b.String(), " "))
}

// label is what stands on the arrow.
func label(s office.Seen) string {
	if s.Status == 0 {
		return s.Method
	}
	return fmt.Sprintf("%d %s", s.Status, s.Method)
}

// about is who the message is about, and which phone it came from or goes to.
func about(s office.Seen) string {
	text := s.To
	if s.From != s.To && s.From != "" {
		text = s.From + " > " + s.To
	}
	if s.Status > 0 && s.Reason != "" {
		text += "  " + s.Reason
	}
	if s.Partner == "" {
		text += "  " + s.Remote + " " + strings.ToLower(s.Transport)
	}
	return text
}

// arrow is one line of lanes with an arrow between two of them.
func (l *ladder) arrow(from, to int, text string) string {
	line := []rune(strings.Repeat(" ", laneWidth*(len(l.lanes)-1)+1))
	for i := range l.lanes {
		line[i*laneWidth] = '│'
	}
	left, right := min(from, to)*laneWidth, max(from, to)*laneWidth
	for i := left + 1; i < right; i++ {
		line[i] = '─'
	}
	if from < to {
		line[right-1] = '▶'
	} else if right > left {
		line[left+1] = '◀'
	}
	runes := []rune(" " + text + " ")
	runes = runes[:min(len(runes), max(right-left-3, 0))]
	copy(line[left+1+(right-left-len(runes))/2:], runes)
	return string(line)
}
