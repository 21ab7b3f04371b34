package office

import (
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/sip"
)

// logTime is RFC 3339, UTC, milliseconds.
const logTime = "2006-01-02T15:04:05.000Z07:00"

// NewLog is the log of this process: one JSON object a line, or, in text, a line for people. It sets
// zerolog's clock and level, which are of the process.
func NewLog(w io.Writer, text, color bool, level string) (zerolog.Logger, error) {
	zerolog.TimeFieldFormat = logTime
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	zerolog.DurationFieldInteger = true
	zerolog.ErrorFieldName = "err"
	if text {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: !color, TimeLocation: time.Local}
	}
	return zerolog.New(w).With().Timestamp().Logger(), SetLevel(level)
}

// logMessages logs the SIP messages of whom, credentials masked, until it is called again. Nobody is the
// usual case, and then no message costs anything.
func (o *Office) logMessages(whom Traced) {
	stop := func() {}
	if len(whom) > 0 && whom[0] != "none" {
		t := newTracer(o)
		stop = o.transport.Tap(func(f *sip.Flow, sent bool, b []byte) {
			if seen, ok := t.see(f, sent, b); ok && (whom[0] == "all" || t.about(seen, whom)) {
				o.logMessage(seen)
			}
		})
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.untap, stop = stop, o.untap
	if stop != nil {
		stop()
	}
}

func (o *Office) logMessage(s Seen) {
	direction := "in"
	if s.Sent {
		direction = "out"
	}
	o.log.Info().Str("event", "sip.message").Str("direction", direction).Str("call_id", s.CallID).Str("peer", s.Remote).
		Str("transport", strings.ToLower(s.Transport)).Str("message", string(s.Raw)).Msg("SIP message")
}
