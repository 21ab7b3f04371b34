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

// logs says whose messages are logged from now on.
func (o *Office) logs(whose []string) { o.whose.Store(&whose) }

// logMessages logs the SIP messages of whoever log.sip names, credentials masked, until stop is called.
// Whom it names is read anew for each message, so a reload changes it.
func (o *Office) logMessages() (stop func()) {
	t := newTracer(o)
	o.logs(o.Config().Log.SIP)
	return o.transport.Tap(func(f *sip.Flow, sent bool, b []byte) {
		whose := *o.whose.Load()
		if len(whose) == 0 || whose[0] == "none" {
			return
		}
		seen, ok := t.see(f, sent, b)
		if !ok || whose[0] != "all" && !t.about(seen, whose) {
			return
		}
		direction := "in"
		if sent {
			direction = "out"
		}
		o.log.Info().Str("event", "sip.message").Str("direction", direction).Str("call_id", seen.CallID).Str("peer", seen.Remote).
			Str("transport", strings.ToLower(seen.Transport)).Str("message", string(seen.Raw)).Msg("SIP message")
	})
}
