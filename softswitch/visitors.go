package softswitch

import "github.com/siproam/siproam/roam"

// Allocate is registrar.Switch's (d, h): it counts visitors, by user, against the office's
// capacity, and our own users where that is limited; all else a call needs is asked of the directory when it comes.
// A device that is known already is renewed. done comes in a later turn.
func (s *Switch) Allocate(line roam.Line, done func(roam.Refusal)) {
	why := s.allocateUser(line)
	if line.Visitor {
		why = s.allocateVisitor(line)
	}
	s.loop.Later(func() { done(why) })
}

func (s *Switch) allocateVisitor(line roam.Line) roam.Refusal {
	devices, known := s.visitors[line.User]
	switch {
	case s.draining != nil || !known && len(s.visitors) >= s.cfg.Visitors:
		return roam.NoCapacity
	case !known:
		devices = map[roam.Device]bool{}
		s.visitors[line.User] = devices
	}
	for _, t := range line.Targets {
		devices[t.Device] = true
	}
	return roam.OK
}

func (s *Switch) allocateUser(line roam.Line) roam.Refusal {
	if s.cfg.Users == 0 || line.Visitor {
		return roam.OK
	}
	if !s.users[line.User] && len(s.users) >= s.cfg.Users {
		return roam.NoCapacity
	}
	s.users[line.User] = true
	return roam.OK
}

// Took counts who was served before we were started, whatever there is room for.
func (s *Switch) Took(line roam.Line) {
	switch {
	case !line.Visitor && s.cfg.Users > 0:
		s.users[line.User] = true
	case line.Visitor:
		devices := s.visitors[line.User]
		if devices == nil {
			devices = map[roam.Device]bool{}
			s.visitors[line.User] = devices
		}
		for _, t := range line.Targets {
			devices[t.Device] = true
		}
	}
}

// Release is registrar.Switch's (260, 480): the device no longer counts. Calls in progress go on, those that ring follow it.
func (s *Switch) Release(user roam.UserID, device roam.Device, gone roam.Location) {
	s.follow(user, device, gone)
	devices := s.visitors[user]
	delete(devices, device)
	line, found := s.dir.Line(user)
	if len(devices) == 0 || !found || line.Gone != nil || len(line.Targets) == 0 {
		delete(s.visitors, user)
	}
	if s.users[user] && !here(line.Targets) {
		delete(s.users, user)
	}
}

// here says that one of ts is a phone of this office.
func here(ts []roam.Target) bool {
	for _, t := range ts {
		if t.Office == "" {
			return true
		}
	}
	return false
}

// Load is how many calls there are, and whether new phones are better off with another softswitch: this one is about to
// stop, has no place for one more user, or has nine calls of the ten that it takes.
func (s *Switch) Load() (calls int, full bool) {
	users := s.cfg.Users > 0 && len(s.users) >= s.cfg.Users || len(s.visitors) >= s.cfg.Visitors
	return len(s.calls), users || s.draining != nil || len(s.calls)*10 >= s.cfg.Calls*9
}
