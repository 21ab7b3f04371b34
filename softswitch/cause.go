package softswitch

// subscriberAbsent is Q.850 cause 20: the user exists, but is registered nowhere.
const subscriberAbsent = 20

// causes is SIP status to Q.850 cause (RFC 3398 7.2.4.1, 8.2.6.1); what is not here is 31.
var causes = map[int]int{
	200: 16, 302: 23, 400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127,
	415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17, 487: 16, 488: 88,
	500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1, 606: 88,
}

// causeFor is the Q.850 cause of a final SIP status.
func causeFor(status int) int {
	if cause, found := causes[status]; found {
		return cause
	}
	return 31 // normal, unspecified
}
