package plan

import (
	"slices"

	"github.com/siproam/siproam/roam"
)

// Facts is what is known of the callee of one call.
type Facts struct {
	Here   roam.OfficeID
	From   roam.OfficeID // the partner the call came from; "": a phone of ours; Here: another softswitch of ours
	Epoch  roam.Epoch    // of the location the partner routed by; 0: it did not say
	Known  bool          // Line is set: our subscriber, or a visitor now or lately
	Line   roam.Line
	Home   roam.OfficeID // the callee's home; "" unless a user of that name exists
	Served bool          // the partner has performed the callee's services
	Asked  bool          // At is R's answer
	At     roam.Location // zero: nowhere
}

// Way is where a call goes.
type Way uint8

// The ways.
const (
	Nobody   Way = iota // 404
	Offline             // 480: the user exists and can be reached nowhere
	Ring                // Line.Targets: phones here, and offices where other devices are
	Office              // the location that comes with it
	AskHome             // the callee's home may know more than R
	Redirect            // 302 to the location that comes with it
	AskStore            // R must be asked first; then Callee again with Asked set
)

// Callee decides where a call for one user goes (METHOD 4, DESIGN 9). Only the home
// office forwards a partner's call; any other rings, refuses or redirects by its tombstone. A call from another
// softswitch of the office is for the phones here alone: that one knows all others.
func Callee(f Facts) (Way, roam.Location) {
	switch {
	case f.From != "" && f.From == f.Here:
		if f.Known && slices.ContainsFunc(f.Line.Targets, func(t roam.Target) bool { return t.Office == "" }) {
			return Ring, roam.Location{}
		}
		return Offline, roam.Location{}
	case f.Known && !f.Line.Visitor && f.Line.Gone == nil:
		return subscriber(f)
	case f.From != "":
		return partners(f), deref(f.Line.Gone)
	case !f.Known && (f.Home == "" || f.Home == f.Here):
		return Nobody, roam.Location{}
	case !f.Asked:
		return AskStore, roam.Location{}
	case f.Known && f.Line.Gone != nil:
		return tombstone(f)
	case f.Known:
		return visitor(f)
	case f.At.Office == "" || f.At.Office == f.Here:
		return AskHome, roam.Location{}
	}
	return Office, f.At
}

func deref(l *roam.Location) (zero roam.Location) {
	if l == nil {
		return zero
	}
	return *l
}

// partners is a partner's call for somebody who is not our subscriber.
func partners(f Facts) Way {
	switch gone := f.Line.Gone; {
	case !f.Known:
		return Nobody
	case gone != nil && (gone.Office == "" || f.Epoch > gone.Epoch):
		return Offline // what the caller knows is newer: the user is on the way to us, not away
	case gone != nil:
		return Redirect
	case len(f.Line.Targets) > 0:
		return Ring
	}
	return Offline
}

// subscriber is a call for our own user: our table says where the devices are.
func subscriber(f Facts) (Way, roam.Location) {
	if ts := f.Line.Targets; len(ts) > 0 {
		for _, t := range ts {
			if f.From == "" || t.Office != f.From {
				return Ring, roam.Location{}
			}
		}
		return Redirect, roam.Location{Office: f.From, Switch: ts[0].URI, Epoch: f.Line.Epoch} // the caller's office has the user
	}
	switch at := f.At; {
	case !f.Asked:
		return AskStore, at
	case at.Office == "" || at.Office == f.Here:
		return Offline, at
	case at.Office == f.From:
		return Redirect, at
	default:
		return Office, at
	}
}

// tombstone is a call of our phone for somebody who was here: R, or what we were told as he left.
func tombstone(f Facts) (Way, roam.Location) {
	gone := *f.Line.Gone
	switch {
	case f.At.Epoch >= gone.Epoch && f.At.Office != "" && f.At.Office != f.Here:
		return Office, f.At
	case gone.Office != "" && gone.Office != f.Here:
		return Office, gone
	case f.Line.Visitor || f.Home != "" && f.Home != f.Here:
		return AskHome, roam.Location{}
	}
	return Offline, gone
}

// visitor is a call of our phone for a visitor: here, unless R knows something newer than we, as when the
// user has moved and we are not told yet, or the same, that the user has devices in several
// offices, which home rings.
func visitor(f Facts) (Way, roam.Location) {
	elsewhere := f.At.Office != "" && f.At.Office != f.Here && !f.At.Stale
	switch {
	case elsewhere && f.At.Epoch >= f.Line.Epoch:
		return Office, f.At
	case len(f.Line.Targets) > 0:
		return Ring, roam.Location{}
	case elsewhere:
		return Office, f.At
	}
	return Offline, roam.Location{}
}
