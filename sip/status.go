package sip

import (
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/siproam/siproam/roam"
)

// row is a line of refusals.
type row struct {
	code   int
	reason string // "": the standard phrase
	after  int    // seconds of Retry-After, spread; 0: none
}

// refusals is the one table from reasons to codes (DESIGN 6, RFC 3261 21).
var refusals = map[roam.Refusal]row{
	roam.BadCredentials: {code: 401},
	roam.NotAllowed:     {code: 403},
	roam.NoAgreement:    {code: 403, reason: "No Roaming Agreement"},
	roam.Barred:         {code: 403, reason: "Barred From Roaming"},
	roam.NoCapacity:     {code: 503, after: 30},
	roam.NoAbility:      {code: 420},
	roam.Moved:          {code: 403, reason: "Registered Elsewhere"},
	roam.HomeSilent:     {code: 503, reason: "Home Office Does Not Answer", after: 15},
	roam.Stale:          {code: 500, reason: "Out Of Order"}, // 10.3 step 7
	roam.TooBusy:        {code: 503, after: 5},
	roam.NoSuchUser:     {code: 404},
	roam.Ambiguous:      {code: 404, reason: "Use The Full Number"},
	roam.Incomplete:     {code: 484},
	roam.NotRegistered:  {code: 480},
	roam.NoRoute:        {code: 404},
	roam.NotAcceptable:  {code: 488},
	roam.TooBrief:       {code: 423},
	roam.TooMany:        {code: 403, reason: "Too Many Contacts"},
	roam.BadRequest:     {code: 400},
	roam.NoDialog:       {code: 481},
	roam.LoopDetected:   {code: 482},
	roam.Timeout:        {code: 408},
	roam.StoreAway:      {code: 503, reason: "Routing Store Away", after: 10},
}

func (r *row) fields() []Field {
	if r.after == 0 {
		return nil
	}
	return []Field{{RetryAfter, Spread(r.after)}}
}

// Spread is a Retry-After of about so many seconds, from a half of them to half as many again: who was refused
// together must not come back together.
func Spread(seconds int) string { return strconv.Itoa(seconds/2 + rand.IntN(seconds+1)) }

// Status is the one table from errors to codes: *Refused, roam.Refusal, anything
// else is 500 and its text never reaches the wire.
func Status(err error) (code int, reason string, fields []Field) {
	refused, direct := err.(*Refused) // nearly always; errors.As takes its time
	var why roam.Refusal
	switch {
	case direct && refused != nil, errors.As(err, &refused):
		row := refusals[refused.Why]
		code, reason = row.code, row.reason
		if refused.Code != 0 && refused.Code != code {
			code, reason = refused.Code, ""
		}
		if refused.Reason != "" {
			reason = refused.Reason
		}
		if fields = refused.Fields; fields == nil {
			fields = row.fields()
		}
	case errors.As(err, &why):
		row := refusals[why]
		code, reason, fields = row.code, row.reason, row.fields()
	}
	if code == 0 {
		code, reason = 500, ""
	}
	if reason == "" {
		reason = Text(code)
	}
	return code, reason, fields
}

var texts = [700]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
	200: "OK", 202: "Accepted", 204: "No Notification",
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service",
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
	407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone", 412: "Conditional Request Failed",
	413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme",
	420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small", 423: "Interval Too Brief",
	428: "Use Identity Header", 430: "Flow Failed", 439: "First Hop Lacks Outbound Support", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
	482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here",
	487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 493: "Undecipherable",
	500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out",
	505: "Version Not Supported", 513: "Message Too Large",
	600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}

// Text is the standard reason phrase of a code.
func Text(code int) string {
	if code >= 0 && code < len(texts) && texts[code] != "" {
		return texts[code]
	}
	return [...]string{"", "Progress", "OK", "Redirection", "Client Error", "Server Error", "Global Failure"}[min(max(code/100, 0), 6)]
}
