package roam

// Refusal is a reason to say no. It is a closed set without codes; sip.Status
// turns it into a code, in one table, and a test fails when one is missing there.
type Refusal uint8

// The refusals.
const (
	OK             Refusal = iota
	BadCredentials         // wrong password, unknown user, stale nonce: a challenge follows
	NotAllowed             // barred, disabled, or not for this caller
	NoAgreement            // no roaming agreement with that office
	Barred                 // the agreement leaves out this user, or the class
	NoCapacity             // the softswitch or a limit is full
	NoAbility              // the device needs what we do not support
	Moved                  // a superseded device without evidence of a person
	HomeSilent             // home does not answer
	Stale                  // an older epoch, ticket or CSeq
	TooBusy                // too much is under way for this user
	NoSuchUser             // nobody by that name here
	Ambiguous              // a bare extension that several offices have: use the full number
	Incomplete             // a number that lacks digits
	NotRegistered          // the user is known but reachable nowhere
	NoRoute                // the dialled address leads nowhere
	NotAcceptable          // media that cannot be joined
	TooBrief               // expiry below the minimum
	TooMany                // more contacts than allowed
	BadRequest             // the message says something impossible
	NoDialog               // in-dialog request without a dialog, CANCEL without a transaction
	LoopDetected           // Max-Forwards spent or the call came back
	Timeout                // the next hop did not answer
	StoreAway              // the routing store is needed and away
	refusalEnd
)

var refusals = [refusalEnd]string{
	"ok", "bad credentials", "not allowed", "no roaming agreement", "barred", "no capacity", "not supported",
	"moved away", "home office does not answer", "stale", "busy with this user", "no such user",
	"ambiguous extension, use the full number", "number incomplete", "not registered", "no route",
	"media not acceptable", "interval too brief", "too many contacts", "bad request", "no such call",
	"loop detected", "timed out", "routing store away",
}

// Error is the refusal in words. The text never holds anything of the request.
func (r Refusal) Error() string { return refusals[r] }

// Refusals is every refusal but OK, for the test that none is forgotten.
func Refusals() []Refusal {
	all := make([]Refusal, 0, refusalEnd-1)
	for r := OK + 1; r < refusalEnd; r++ {
		all = append(all, r)
	}
	return all
}
