package softswitch

import "github.com/siproam/siproam/roam"

// Allocate is registrar.Switch's (d, h): it counts visitors, by user, against the office's
// capacity; all else a call needs is asked of the directory when it comes. A device that is
// known already is renewed. done comes in a later turn.
func (s *Switch) Allocate(line roam.Line, done func(roam.Refusal)) {
	why := roam.OK
	if line.Visitor {
		devices, known := s.visitors[line.User]
		switch {
		case s.draining != nil || !known && len(s.visitors) >= s.cfg.Visitors:
			why = roam.NoCapacity
		case !known:
			devices = map[roam.Device]bool{}
			s.visitors[line.User] = devices
		}
		if why == roam.OK {
			for _, t := range line.Targets {
				devices[t.Device] = true
			}
		}
	}
	s.loop.Later(func() { done(why) })
}

// Release is registrar.Switch's (260, 480): the device no longer counts. Calls in progress go on.
func (s *Switch) Release(user roam.UserID, device roam.Device, gone roam.Location) {
	devices := s.visitors[user]
	delete(devices, device)
	if line, found := s.dir.Line(user); len(devices) == 0 || !found || line.Gone != nil || len(line.Targets) == 0 {
		delete(s.visitors, user)
	}
}
