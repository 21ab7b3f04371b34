package office_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
)

// lines collects a log. mu guards b.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// all is every line, read.
func (l *lines) all(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, m)
	}
	return all
}

// logged makes the process's log go to l at level until the test ends.
func logged(t *testing.T, level string) (*lines, zerolog.Logger) {
	t.Helper()
	was := zerolog.GlobalLevel()
	t.Cleanup(func() { zerolog.SetGlobalLevel(was) })
	l := &lines{}
	log, err := office.NewLog(l, false, false, level)
	if err != nil {
		t.Fatal(err)
	}
	return l, log
}

// TestLog: one JSON object a line, time in UTC with milliseconds, the level changed while it runs.
func TestLog(t *testing.T) {
	l, log := logged(t, "info")
	log.Debug().Msg("not shown")
	log.Info().Str("event", "test.one").Msg("shown")
	if err := office.SetLevel("debug"); err != nil {
		t.Fatal(err)
	}
	log.Debug().Str("event", "test.two").Msg("shown now")
	if err := office.SetLevel("loud"); err == nil {
		t.Error("took a level that is none")
	}
	all := l.all(t)
	if len(all) != 2 || all[0]["event"] != "test.one" || all[1]["event"] != "test.two" {
		t.Fatalf("got %v, want two lines", all)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", all[0]["time"].(string)); err != nil {
		t.Errorf("got time %v: %v", all[0]["time"], err)
	}
	if _, err := office.NewLog(l, false, false, "loud"); err == nil {
		t.Error("took a level that is none")
	}
}

// TestLogSIP: log.sip names whose messages are logged, masked, and follows a reload.
func TestLogSIP(t *testing.T) {
	l, log := logged(t, "info")
	x := startThreeLogged(t, log, func(c *office.Config) {
		if c.Office == "south" {
			c.Log.SIP = office.Traced{"1001"}
		}
	})
	for _, n := range []string{"1001", "2001"} {
		if _, err := x.plug(x.phone(n, "south", phone.Config{})); err != nil {
			t.Fatal(err)
		}
	}
	x.located("1001", "south")
	messages := func() (n int) {
		for _, m := range l.all(t) {
			if m["event"] != "sip.message" {
				continue
			}
			n++
			text := m["message"].(string)
			if m["office"] != "south" || strings.Contains(text, "2001@south.example") {
				t.Errorf("got %v, want 1001 at south alone", m)
			}
			if strings.Contains(text, "Authorization: ") && !strings.Contains(text, `response="**`) {
				t.Errorf("not masked: %s", text)
			}
		}
		return n
	}
	before := messages()
	if before < 6 {
		t.Errorf("got %d messages, want a registration", before)
	}
	cfg := x.office("south").Config()
	cfg.Log.SIP = office.Traced{"none"}
	if _, err := x.office("south").Reload(within(t, 5*time.Second), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := x.plug(x.phone("1001", "south", phone.Config{})); err != nil {
		t.Fatal(err)
	}
	if after := messages(); after != before {
		t.Errorf("got %d messages after log.sip: none, %d before", after, before)
	}
}
