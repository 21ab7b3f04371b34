package sip_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

func TestStatusKnowsEveryRefusal(t *testing.T) {
	for _, r := range roam.Refusals() {
		code, reason, _ := sip.Status(r)
		if code < 400 || code > 699 || code == 500 && r != roam.Stale || reason == "" {
			t.Errorf("%v: got %d %s", r, code, reason)
		}
		if wrapped, _, _ := sip.Status(fmt.Errorf("register: %w", r)); wrapped != code {
			t.Errorf("%v wrapped: got %d, want %d", r, wrapped, code)
		}
	}
}

// TestRetryAfterIsSpread: who was refused together does not come back together, whatever the reason.
func TestRetryAfterIsSpread(t *testing.T) {
	for _, r := range roam.Refusals() {
		seen := map[string]bool{}
		for range 500 {
			switch _, _, fields := sip.Status(r); {
			case len(fields) == 0:
				seen = nil
			case seen != nil:
				seen[fields[0].Value] = true
			}
		}
		code, _, _ := sip.Status(r)
		if seen == nil != (code != 503) || seen != nil && (len(seen) < 5 || seen["0"]) {
			t.Errorf("%v: got %v, want many values of Retry-After with 503 and none else", r, seen)
		}
	}
	low, high := 99, 0
	for range 5000 {
		n, err := strconv.Atoi(sip.Spread(10))
		if err != nil {
			t.Fatal(err)
		}
		low, high = min(low, n), max(high, n)
	}
	if low != 5 || high != 15 {
		t.Errorf("about 10: got %d to %d, want 5 to 15", low, high)
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		err    error
		code   int
		reason string
		fields int
	}{
		{roam.BadCredentials, 401, "Unauthorized", 0},
		{roam.NotAllowed, 403, "Forbidden", 0},
		{roam.NoAgreement, 403, "No Roaming Agreement", 0},
		{roam.NoCapacity, 503, "Service Unavailable", 1},
		{roam.NoAbility, 420, "Bad Extension", 0},
		{roam.Moved, 403, "Registered Elsewhere", 0},
		{roam.HomeSilent, 503, "Home Office Does Not Answer", 1},
		{roam.Stale, 500, "Out Of Order", 0},
		{roam.Ambiguous, 404, "Use The Full Number", 0},
		{roam.NotRegistered, 480, "Temporarily Unavailable", 0},
		{roam.LoopDetected, 482, "Loop Detected", 0},
		{&sip.Refused{Why: roam.NoAbility}, 420, "Bad Extension", 0},
		{&sip.Refused{Why: roam.NoAbility, Code: 488}, 488, "Not Acceptable Here", 0},
		{&sip.Refused{Why: roam.LoopDetected, Code: 483}, 483, "Too Many Hops", 0},
		{&sip.Refused{Why: roam.Moved, Reason: "Gone"}, 403, "Gone", 0},
		{&sip.Refused{Why: roam.NoAgreement, Code: 404}, 404, "Not Found", 0},
		{&sip.Refused{Why: roam.HomeSilent}, 503, "Home Office Does Not Answer", 1},
		{&sip.Refused{Why: roam.HomeSilent, Fields: []sip.Field{{sip.RetryAfter, "1"}, {sip.Server, "x"}}}, 503, "Home Office Does Not Answer", 2},
		{fmt.Errorf("a: %w", &sip.Refused{Why: roam.BadCredentials, Code: 407}), 407, "Proxy Authentication Required", 0},
		{&sip.Refused{}, 500, "Server Internal Error", 0},
		{errors.New("disk full"), 500, "Server Internal Error", 0},
		{roam.OK, 500, "Server Internal Error", 0},
		{nil, 500, "Server Internal Error", 0},
	} {
		code, reason, fields := sip.Status(tt.err)
		if code != tt.code || reason != tt.reason || len(fields) != tt.fields {
			t.Errorf("%#v: got %d %s %v, want %d %s and %d fields", tt.err, code, reason, fields, tt.code, tt.reason, tt.fields)
		}
	}
}

func TestText(t *testing.T) {
	for code, want := range map[int]string{100: "Trying", 200: "OK", 481: "Call/Transaction Does Not Exist", 606: "Not Acceptable", 199: "Progress", 299: "OK", 499: "Client Error", 700: "Global Failure", 0: "", -1: ""} {
		if got := sip.Text(code); got != want {
			t.Errorf("%d: got %q, want %q", code, got, want)
		}
	}
}
