package roam

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 60 * time.Second: "1m", 90 * time.Second: "1m30s", time.Hour: "1h", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m",
		10 * time.Second: "10s", 100 * time.Minute: "1h40m", 4500 * time.Millisecond: "4.5s", time.Hour + time.Second: "1h0m1s", 10 * time.Hour: "10h",
	} {
		text, err := Duration(d).MarshalText()
		if err != nil || string(text) != want {
			t.Errorf("got %s %v, want %s", text, err, want)
		}
		var back Duration
		if err := back.UnmarshalText(text); err != nil || back.D() != d {
			t.Errorf("%s read back: got %v %v, want %v", text, back.D(), err, d)
		}
	}
}

func TestSilencePolicyOver(t *testing.T) {
	base := SilencePolicy{Policy: "refuse", After: 4, Expires: 90, ResendFor: 24}
	got := SilencePolicy{Policy: "admit-known", Expires: 60}.Over(base)
	if want := (SilencePolicy{Policy: "admit-known", After: 4, Expires: 60, ResendFor: 24}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := (SilencePolicy{}).Over(base); got != base {
		t.Errorf("got %+v, want %+v", got, base)
	}
}
