// Package provision gives phones their settings over HTTP(S): the last step of a phone out of the box.
//
// A phone asks for a file whose name its vendor has chosen and in which its MAC stands; the answer is made of a template
// (text/template: built in ones, and a folder of the operator's) and of what the office knows: whose phone it is, where to
// register, time, VLAN, keys. A phone that was given to a user registers with a credential of its own, derived of a secret
// of the office; the user's password is nowhere in it, and taking the phone away ends its credential alone.
//
// What protects it (who may ask is decided in admit):
//
//	the address that asks has a lease of ours, and it is the lease of that MAC (unless leases are ignored)
//	the first fetch of a phone: as "first" says, by its lease alone, or by a secret in the URL that serves it once
//	all later ones: by the phone's own credential (Basic), or by a certificate in whose name its MAC stands
//	a phone that is nobody's gets nothing, or no secret
//	rates by source and in all; few connections, small requests, short times
//
// It owns the table of phones. It does not own accounts (registrar) or leases (dhcp): the office hands both in. Its methods
// wait, and are safe anywhere; nothing of it runs on the office's loop. It does no TFTP.
package provision

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// Accounts is the registrar, as far as phones need it.
type Accounts interface {
	// Account is a user by any of his names; roam.NoSuchUser, roam.NotAllowed for one that is disabled.
	Account(ctx context.Context, name string) (Account, error)
	// SetPhones makes phones (login, password) those of their users; all: and nobody else has one.
	SetPhones(ctx context.Context, phones map[roam.UserID]map[string]string, all bool) error
}

// Leases is DHCP: which phone is at an address.
type Leases interface {
	At(ctx context.Context, a netip.Addr) (lease roam.Lease, found bool, err error)
}

// The errors of phones.
var (
	ErrMAC     = errors.New("not a MAC of a phone, such as 00:15:65:a1:b2:c3")
	ErrUnknown = errors.New("no phone of this office")
	ErrVendor  = errors.New("no template of that vendor")
)

// Server is the settings of one office's phones. New makes it, Listen binds it, Run serves.
type Server struct {
	Now func() time.Time // nil: time.Now; set before Run

	file     *store.File
	accounts Accounts
	leases   Leases // nil: nobody has one
	port     func(transport string) int
	cert     *tls.Config
	log      zerolog.Logger
	limit    limiter
	seldom   metric.Seldom
	counters

	listeners []net.Listener
	change    chan struct{} // one place: phones change one at a time

	mu      sync.Mutex // guards what follows; held for moments only
	cfg     Config
	set     *set
	secret  []byte // from which credentials are derived; never changes after New
	shared  string // of secret_file
	roots   *x509.CertPool
	phones  map[MAC]*record
	strange map[MAC]Seen // phones that are nobody's and have asked, at most mostStrange
}

// Parts is what a Server is made of.
type Parts struct {
	File     *store.File
	Accounts Accounts
	Leases   Leases                     // nil: nobody has one
	Port     func(transport string) int // of the office's own listener for phones; nil, or 0: the usual one
	TLS      *tls.Config                // with the office's certificate; nil: there is none
	Metrics  *metric.Set
	Log      zerolog.Logger
}

// New reads templates, the phones and the office's secret; nothing is bound or runs yet.
func New(cfg Config, p Parts) (*Server, error) {
	s := &Server{file: p.File, accounts: p.Accounts, leases: p.Leases, port: p.Port, cert: p.TLS, log: p.Log, change: make(chan struct{}, 1),
		phones: map[MAC]*record{}, strange: map[MAC]Seen{}}
	if s.port == nil {
		s.port = func(string) int { return 0 }
	}
	s.count(p.Metrics)
	if err := s.Reload(cfg); err != nil {
		return nil, err
	}
	return s, s.load(context.Background())
}

// Reload takes cfg, and reads templates and files again. After an error everything is as it was. Listeners stay.
func (s *Server) Reload(cfg Config) error {
	set, err := readTemplates(cfg.Templates, cfg.Values)
	if err != nil {
		return err
	}
	var shared string
	if cfg.SecretFile != "" {
		b, err := os.ReadFile(cfg.SecretFile)
		if err != nil {
			return fmt.Errorf("secret_file: %w", err)
		}
		if shared = strings.TrimSpace(string(b)); !isSecret(shared) {
			return fmt.Errorf("secret_file: %s: want %d to %d letters and digits", cfg.SecretFile, secretMin, secretMax)
		}
	}
	var roots *x509.CertPool
	if cfg.PhoneCA != "" {
		pem, err := os.ReadFile(cfg.PhoneCA)
		if err != nil {
			return fmt.Errorf("phone_ca: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("phone_ca: %s: no certificate in it", cfg.PhoneCA)
		}
	}
	s.limit.set(cfg.Rate)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg, s.set, s.shared, s.roots = cfg, set, shared, roots
	return nil
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Phone is a phone as people see it. No secret is in it.
type Phone struct {
	MAC     MAC         `json:"mac"`
	User    roam.UserID `json:"user,omitempty"` // "": nobody's; it has asked for settings
	Vendor  string      `json:"vendor,omitempty"`
	Agent   string      `json:"agent,omitempty"`
	Addr    netip.Addr  `json:"addr,omitzero"`    // from where it has asked last
	Given   time.Time   `json:"given,omitzero"`   // when its credential was made
	Fetched time.Time   `json:"fetched,omitzero"` // when it has got its settings last; of a phone that is nobody's, when it has asked
	Refused string      `json:"refused,omitempty"`
	Login   string      `json:"login,omitempty"`
}

// Knows says that the phone with that MAC is somebody's. From any goroutine; it does not wait.
func (s *Server) Knows(mac string) bool {
	m, ok := ParseMAC(mac)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copied(m).User != ""
}

// Phones is every phone that is somebody's, and those that have asked lately and are not; in order of their MACs.
func (s *Server) Phones() []Phone {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Phone{}
	for m, r := range s.phones {
		if r.User != "" {
			all = append(all, shown(m, r))
		}
	}
	for m, is := range s.strange {
		if r := s.phones[m]; r == nil || r.User == "" {
			all = append(all, Phone{MAC: m, Vendor: is.Vendor, Agent: is.Agent, Addr: is.Addr, Fetched: is.At, Refused: is.Why})
		}
	}
	slices.SortFunc(all, func(a, b Phone) int { return strings.Compare(a.MAC.String(), b.MAC.String()) })
	return all
}

func shown(m MAC, r *record) Phone {
	return Phone{MAC: m, User: r.User, Vendor: r.Vendor, Agent: r.Agent, Addr: r.Addr, Given: r.Given, Fetched: r.Last, Login: Login(m)}
}

// alone waits until no other phone changes.
func (s *Server) alone(ctx context.Context) (done func(), err error) {
	select {
	case s.change <- struct{}{}:
		return func() { <-s.change }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Add gives phone m to the user of that name; vendor "" is as the phone says itself. What it had before ends: with each Add a
// phone has a credential anew. It waits for the disk.
func (s *Server) Add(ctx context.Context, m MAC, name, vendor string) (Phone, error) {
	if !m.single() {
		return Phone{}, fmt.Errorf("%s: %w", m.Colons(), ErrMAC)
	}
	if vendor != "" && !s.has(vendor) {
		return Phone{}, fmt.Errorf("%s: %w", vendor, ErrVendor)
	}
	a, err := s.accounts.Account(ctx, name)
	if err != nil {
		return Phone{}, fmt.Errorf("%s: %w", name, err)
	}
	return s.alter(ctx, m, func(r *record) error {
		r.User = a.User
		if vendor != "" || r.Vendor == "" {
			r.Vendor = vendor
		}
		return nil
	})
}

// Remove takes phone m away from its user: its credential ends, and what it has registered here.
func (s *Server) Remove(ctx context.Context, m MAC) (Phone, error) {
	return s.alter(ctx, m, func(r *record) error {
		if r.User == "" {
			return fmt.Errorf("%s: %w", m.Colons(), ErrUnknown)
		}
		r.User = ""
		return nil
	})
}

// Reset makes the credential of phone m anew: it is to fetch its settings again, as for the first time.
func (s *Server) Reset(ctx context.Context, m MAC) (Phone, error) {
	return s.alter(ctx, m, func(r *record) error {
		if r.User == "" {
			return fmt.Errorf("%s: %w", m.Colons(), ErrUnknown)
		}
		return nil
	})
}

// alter changes the record of m by do, begins a new generation, saves it and tells the registrar.
func (s *Server) alter(ctx context.Context, m MAC, do func(*record) error) (Phone, error) {
	done, err := s.alone(ctx)
	if err != nil {
		return Phone{}, err
	}
	defer done()
	now := s.now().UTC()
	s.mu.Lock()
	r := s.copied(m)
	was := r.User
	if err := do(&r); err != nil {
		s.mu.Unlock()
		return Phone{}, err
	}
	r.Generation++
	r.Given, r.First = now, time.Time{}
	wait := s.put(m, &r, true)
	delete(s.strange, m)
	phones := s.of(was, r.User)
	s.mu.Unlock()
	if err := wait(ctx); err != nil {
		return Phone{}, err
	}
	return shown(m, &r), s.accounts.SetPhones(ctx, phones, false)
}

// copied is the record of m, of the caller's own; s.mu is held.
func (s *Server) copied(m MAC) (r record) {
	if is := s.phones[m]; is != nil {
		r = *is
	}
	return r
}

func (s *Server) copyOf(m MAC) (r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copied(m)
}

// has says that there is a template of vendor.
func (s *Server) has(vendor string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.set.files, func(f *file) bool { return f.vendor == vendor })
}

// of is the logins and passwords of the phones of users; of none, of everybody. s.mu is held.
func (s *Server) of(users ...roam.UserID) map[roam.UserID]map[string]string {
	all := map[roam.UserID]map[string]string{}
	for _, u := range users {
		if u != "" {
			all[u] = map[string]string{}
		}
	}
	for m, r := range s.phones {
		if r.User == "" || len(users) > 0 && all[r.User] == nil {
			continue
		}
		if all[r.User] == nil {
			all[r.User] = map[string]string{}
		}
		all[r.User][Login(m)] = derive(s.secret, forSIP, m, r.Generation)
	}
	return all
}

// Settle tells the registrar of all phones: at the start, and when accounts have been made anew. What it knows already is
// not written again.
func (s *Server) Settle(ctx context.Context) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	s.mu.Lock()
	phones := s.of()
	s.mu.Unlock()
	return s.accounts.SetPhones(ctx, phones, true)
}

// Secret is what may stand in the URL that DHCP gives the phone with that MAC (options 66, 160): it serves its first fetch. ""
// where none is asked for. It does not wait.
func (s *Server) Secret(mac string) string {
	m, ok := ParseMAC(mac)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || s.cfg.First != BySecret {
		return ""
	}
	return derive(s.secret, forURL, m, s.copied(m).Generation)
}
