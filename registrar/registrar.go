// Package registrar is the registration server G: it reads REGISTERs (RFC 3261 10.3), asks and
// answers other registrars (DESIGN 6), feeds package control and does what it says.
package registrar

import (
	"context"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/store"
)

// Switch is the office's softswitch as the registrar sees it (METHOD d, h, 480).
type Switch interface {
	// Allocate serves line, or renews it; a refusal is roam.NoCapacity or roam.NoAbility.
	Allocate(line roam.Line, done func(roam.Refusal))
	// Release stops serving device of user; gone, unless zero, is where calls for it go now.
	Release(user roam.UserID, device roam.Device, gone roam.Location)
}

// Router is R, asked through S (METHOD 120, 180, 190); *routesrv.Store.
type Router interface {
	Identify(a sip.AOR, done func(roam.UserID, roam.OfficeID, error))
	Locate(user roam.UserID, fresh bool, done func(roam.Location, error))
	Report(user roam.UserID, at roam.Location, why string, done func(now roam.Location, err error))
	Publish(ids, gone []roam.Identity)
	Peer(o roam.OfficeID, done func(roam.Peer, error))
}

// Leases is DHCP, asked when it matters: which phone is at ip, and when was it plugged in.
type Leases interface {
	At(ip netip.Addr) (roam.Lease, bool)
}

// Config is office.yaml's "registration", and what the registrar needs of the rest.
type Config struct {
	Expires        roam.Duration      `yaml:"expires"`         // granted when the phone asks for nothing; 300s
	Min            roam.Duration      `yaml:"min"`             // shorter is refused, 423; 60s
	Max            roam.Duration      `yaml:"max"`             // longer is cut; 1h
	Contacts       int                `yaml:"contacts"`        // bindings per user; 5
	Devices        string             `yaml:"devices"`         // many or one
	Algorithms     []string           `yaml:"algorithms"`      // md5, sha-256 or both
	ChallengeCalls string             `yaml:"challenge_calls"` // never, udp or always (used by the softswitch)
	HomeSilent     roam.SilencePolicy `yaml:"-"`
	Partners       []roam.Partner     `yaml:"-"`
	Card           roam.Card          `yaml:"-"` // who we are
	Names          []string           `yaml:"-"` // hosts that mean us: domain first, then aliases and our addresses
	UserCapacity   int                `yaml:"-"`
}

// Server is the registrar of one office. Its methods run on the loop unless they take a ctx.
type Server struct{}

// Schema is its tables: users, bindings (one row per user), visits, keys.
var Schema = store.Schema{Role: "registrar"}

// New reads users, bindings and visits from f. leases may be nil.
func New(cfg Config, l *loop.Loop, tl *transaction.Layer, f *store.File, sw Switch, r Router, leases Leases, m *metric.Set, log zerolog.Logger) (*Server, error) {
	panic("registrar: not built")
}

// Reload takes a new configuration without dropping a registration.
func (s *Server) Reload(cfg Config) { panic("registrar: not built") }

// ServeSIP takes REGISTER, the OPTIONS that ask for an office card, and NOTIFY Event: reg (supersede).
func (s *Server) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	panic("registrar: not built")
}

// Line is the softswitch's question: who is user to us. found is false for somebody
// who is neither our subscriber nor a visitor, now or lately.
func (s *Server) Line(user roam.UserID) (line roam.Line, found bool) { panic("registrar: not built") }

// Resolve is whose aor is, among our subscribers and visitors: canonical, alias or number.
func (s *Server) Resolve(a sip.AOR) (roam.UserID, bool) { panic("registrar: not built") }

// Whose is the user on whose flow a request came (DESIGN 9): the one binding's, or of several the one
// claims names. many says that the flow has several bindings and none was named.
func (s *Server) Whose(f *sip.Flow, claims []sip.AOR) (user roam.UserID, found, many bool) {
	panic("registrar: not built")
}

// Authenticate checks the Proxy-Authorization of req: here for a subscriber, by the identity query for a
// visitor. Without credentials, or with wrong ones, err is a *sip.Refused with the challenge (407).
func (s *Server) Authenticate(req *sip.Message, user roam.UserID, done func(roam.UserID, error)) {
	panic("registrar: not built")
}

// Closed marks the bindings of a connection that ended. LeaseOver ends the flows of an address.
func (s *Server) Closed(f *sip.Flow) { panic("registrar: not built") }

// LeaseOver is dhcp.Watcher's.
func (s *Server) LeaseOver(ip netip.Addr) { panic("registrar: not built") }

// Owned is routesrv's sweep: what R should hold of our subscribers, in order of UserID.
func (s *Server) Owned(after roam.UserID, max int) []roam.Owned {
	panic("registrar: not built")
}

// User is an account as people see it. No secret is in it.
type User struct {
	ID       roam.UserID `json:"user"`
	Name     string      `json:"name,omitempty"`
	Number   string      `json:"number,omitempty"`  // E.164
	Short    string      `json:"short,omitempty"`   // extension
	Aliases  []string    `json:"aliases,omitempty"` // "alice@north.example", "+15550001001"
	Disabled bool        `json:"disabled,omitempty"`
	Calls    int         `json:"calls,omitempty"`
}

// Account is what user add, import and passwd give: one of Password and HA1.
type Account struct {
	User
	Password string              // never kept: HA1s are computed for every login name
	HA1      map[string][]string // login name -> hex HA1 (MD5, then SHA-256)
}

// Add makes users, all or none. Errors name the user. It waits for the disk.
func (s *Server) Add(ctx context.Context, as []Account) error { panic("registrar: not built") }

// Change changes what is given of one user: nil leaves it. roam.NoSuchUser when there is none.
func (s *Server) Change(ctx context.Context, id roam.UserID, c Change) error {
	panic("registrar: not built")
}

// Change is a change of one account.
type Change struct {
	Password *string
	Disabled *bool
	Name     *string
	AddAlias []string // refused without Password unless the account keeps HA1 for it: digest covers the login name
	DelAlias []string
}

// Remove deletes an account and ends its registrations.
func (s *Server) Remove(ctx context.Context, id roam.UserID) error { panic("registrar: not built") }

// Users lists accounts after one, in order.
func (s *Server) Users(ctx context.Context, after roam.UserID, max int) ([]User, error) {
	panic("registrar: not built")
}

// Status is what `where` shows of one user: our subscriber or a visitor here.
type Status struct {
	User     User          `json:"user"`
	Visitor  bool          `json:"visitor"`
	Home     roam.OfficeID `json:"home"`
	Location roam.Location `json:"location"` // as home last recorded it; of a visitor, ours
	Devices  []DeviceAt    `json:"devices"`
}

// DeviceAt is one device of a user.
type DeviceAt struct {
	Device  roam.Device   `json:"device,omitempty"`
	Office  roam.OfficeID `json:"office"`
	Contact string        `json:"contact,omitempty"`
	Agent   string        `json:"agent,omitempty"`
	Flow    roam.Flow     `json:"flow"`
	Until   time.Time     `json:"until"`
	Suspect bool          `json:"suspect,omitempty"`
}

// Where is the state of one user; name is a UserID, number, alias or extension.
func (s *Server) Where(ctx context.Context, name string) (Status, error) {
	panic("registrar: not built")
}

// List is the state of everybody registered here or ours and elsewhere, after a user, in order.
func (s *Server) List(ctx context.Context, after roam.UserID, max int) ([]Status, error) {
	panic("registrar: not built")
}
