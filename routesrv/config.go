package routesrv

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config is office.yaml's "routes".
type Config struct {
	// Redis says where the routing store is:
	//
	//	redis://[user@]host[:6379][/db]        one server; rediss:// with TLS
	//	sentinel://[user@]host[:26379],.../name[/db][?tls=true]
	//	cluster://[user@]host[:6379],...[?tls=true]
	//	embedded                               in this process; the default
	Redis string `yaml:"redis"`
	// PasswordFile holds the password alone. It is read at start and never logged.
	PasswordFile string `yaml:"password_file"`
	// Insecure allows a Redis that has no password and is not on loopback: whoever
	// reaches it can send anybody's calls anywhere.
	Insecure bool `yaml:"insecure"`
	// Mode is fast: a 200 never waits for R, which is told afterwards; or strict: the 200 to
	// a phone that has moved waits until R has acknowledged where it is, and with R away moves are
	// refused. A refresh asks R for nothing in either.
	Mode string `yaml:"mode"`
	// Trust is store: what R holds is believed; or signed: a location counts when the user's home
	// has signed it, else home is asked.
	Trust string `yaml:"trust"`
	// WaitReplicas is how many replicas must have a move, too, before R's acknowledgement
	// counts (WAIT); only with strict. 0: the primary alone.
	WaitReplicas int `yaml:"wait_replicas"`
}

// DefaultConfig is the embedded store, fast.
func DefaultConfig() Config { return Config{Redis: "embedded", Mode: fast, Trust: trustStore} }

// The modes.
const (
	fast   = "fast"
	strict = "strict"
)

// Whether R is believed.
const (
	trustStore = "store"
	signed     = "signed"
)

// Signed says that locations must be signed.
func (c *Config) Signed() bool { return c.Trust == signed }

// Strict says that moves wait for R.
func (c *Config) Strict() bool { return c.Mode == strict }

// Validate finds a bad URL, a Redis without password that is not on loopback, and a mode that cannot be.
func (c *Config) Validate() error {
	if c.Mode != "" && c.Mode != fast && c.Mode != strict {
		return fmt.Errorf("routes.mode: %q; want fast or strict", c.Mode)
	}
	if c.Trust != "" && c.Trust != trustStore && c.Trust != signed {
		return fmt.Errorf("routes.trust: %q; want store or signed", c.Trust)
	}
	if c.WaitReplicas < 0 || c.WaitReplicas > 10 {
		return fmt.Errorf("routes.wait_replicas: %d is not between 0 and 10", c.WaitReplicas)
	}
	if c.WaitReplicas > 0 && !c.Strict() {
		return errors.New("routes.wait_replicas: nothing waits for a replica unless routes.mode is strict")
	}
	if c.WaitReplicas > 0 && c.Redis == "embedded" {
		return errors.New("routes.wait_replicas: the embedded store has no replicas")
	}
	if c.Redis == "embedded" {
		if c.PasswordFile != "" {
			return errors.New("routes.password_file: the embedded store has no password")
		}
		return nil
	}
	o, err := c.options()
	if err != nil {
		return fmt.Errorf("routes.redis: %w", err)
	}
	if c.PasswordFile == "" && !c.Insecure {
		for _, a := range o.Addrs {
			if !loopback(a) {
				return fmt.Errorf("routes.redis: %s has no password, so whoever reaches it can redirect every call; set routes.password_file, or routes.insecure: true", a)
			}
		}
	}
	return nil
}

// loopback says that addr, "host:port", never leaves this machine.
func loopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// options is the client's configuration, without the password.
func (c *Config) options() (*redis.UniversalOptions, error) {
	u, hosts, err := parse(c.Redis)
	if err != nil {
		return nil, err
	}
	if _, secret := u.User.Password(); secret {
		return nil, errors.New("a password belongs in routes.password_file")
	}
	o := &redis.UniversalOptions{
		Username: u.User.Username(), DisableIdentity: true,
		DialTimeout: patience, ReadTimeout: 500 * time.Millisecond, WriteTimeout: 500 * time.Millisecond,
		PoolTimeout: patience, ContextTimeoutEnabled: true, DialerRetries: 1,
		MaxRetries: 1, MinRetryBackoff: 8 * time.Millisecond, PoolSize: 16 * runtime.GOMAXPROCS(0),
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Strict() {
		o.ReadTimeout = acknowledged // only reports may take so long: all else has its own limit
	}
	port, secure := "6379", u.Scheme == "rediss"
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	switch u.Scheme {
	case "redis", "rediss":
	case "sentinel":
		if port, o.MasterName, path = "26379", path[0], path[1:]; o.MasterName == "" {
			return nil, errors.New("sentinel://hosts/name: the name of the master is missing")
		}
	case "cluster":
		if o.IsClusterMode = true; path[0] != "" {
			return nil, errors.New("a cluster has no numbered databases")
		}
	default:
		return nil, fmt.Errorf("%q is none of redis://, rediss://, sentinel://, cluster:// and embedded", u.Scheme)
	}
	for k, v := range u.Query() {
		if k != "tls" || v[0] != "true" && v[0] != "false" {
			return nil, fmt.Errorf("?%s=%s: only ?tls=true is known", k, v[0])
		}
		secure = secure || v[0] == "true"
	}
	if o.DB, err = database(path); err != nil {
		return nil, err
	}
	for a := range strings.SplitSeq(hosts, ",") {
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(strings.Trim(a, "[]"), port)
		}
		if strings.HasPrefix(a, ":") {
			return nil, errors.New("a host is missing")
		}
		o.Addrs = append(o.Addrs, a)
	}
	if len(o.Addrs) > 1 && !o.IsClusterMode && o.MasterName == "" {
		return nil, errors.New("several hosts are sentinel:// or cluster://")
	}
	if secure {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12} // the name is set per address by the client
	}
	return o, nil
}

// parse is url.Parse for a list of hosts, which may be IPv6 addresses.
func parse(text string) (u *url.URL, hosts string, err error) {
	scheme, rest, _ := strings.Cut(text, "://")
	end := strings.IndexAny(rest+"/", "/?")
	hosts = rest[:end]
	user := ""
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		user, hosts = hosts[:i+1], hosts[i+1:]
	}
	if u, err = url.Parse(scheme + "://" + user + "hosts" + rest[end:]); err != nil {
		err = errors.New("not a URL") // url's own words may hold a password
	}
	return u, hosts, err
}

// database is the number after the host, 0 when there is none.
func database(path []string) (int, error) {
	if len(path) == 0 || len(path) == 1 && path[0] == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(path[0])
	if err != nil || n < 0 || len(path) > 1 {
		return 0, fmt.Errorf("%q is not the number of a database", strings.Join(path, "/"))
	}
	return n, nil
}

// password reads the password file; it must hold something.
func (c *Config) password() (string, error) {
	if c.PasswordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("routes.password_file: %w", err)
	}
	if p := strings.TrimSpace(string(b)); p != "" {
		return p, nil
	}
	return "", fmt.Errorf("routes.password_file: %s is empty", c.PasswordFile)
}
