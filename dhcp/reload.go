package dhcp

import "fmt"

// Reload takes a new configuration: subnets, pools, reservations, classes and what phones are told. Mode and interfaces stay as
// they are. A lease that the new pools have no place for is its client's until it ends; one in a subnet that is gone is over at
// once, and its client hears so when it asks. After an error nothing has changed.
func (s *Server) Reload(cfg Config) error {
	over, err := s.table.Configure(s.loop.Now(), cfg.leases())
	if err != nil {
		return fmt.Errorf("dhcp: %w", err)
	}
	cfg.Mode, cfg.Interfaces = s.cfg.Mode, s.cfg.Interfaces
	s.mu.Lock()
	s.cfg = cfg
	s.mu.Unlock()
	s.names, s.classes = nil, nil
	s.prepare()
	s.often = newOften(cfg.Limits.PerSecond)
	for _, l := range over {
		s.ended(l.Addr) // its row stays, should the subnet come back
	}
	s.expire()
	return nil
}
