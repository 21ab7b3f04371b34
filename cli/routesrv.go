package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/redirect"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/web"
)

// auditEvery is how often the routing store is looked through.
const auditEvery = 10 * time.Minute

type routeService struct {
	Serve routeServe `cmd:"" default:"withargs" help:"Answer where users are: 302 over SIP, JSON over HTTP; or be the store itself (--embedded)."`
	ACL   routeACL   `cmd:"" name:"acl" help:"Print the Redis ACL line of an office: what it must be able to write, and no more."`
}

type routeServe struct {
	Redis        string         `help:"The routing store, as office.yaml's routes.redis." placeholder:"URL" xor:"store"`
	Embedded     string         `help:"Instead of a Redis: be the routing store, at this address." placeholder:"HOST:PORT" xor:"store"`
	PasswordFile string         `help:"The store's password; --embedded asks its clients for it." type:"path" placeholder:"FILE"`
	Insecure     bool           `help:"Allow a store without a password that others of the network reach."`
	State        string         `help:"Directory of the embedded store's snapshot." type:"path" default:"/var/lib/siproam" placeholder:"DIR"`
	Listen       []string       `help:"SIP listeners." default:"udp:127.0.0.1:5070,tcp:127.0.0.1:5070" placeholder:"TRANSPORT:ADDRESS:PORT"`
	Allow        []netip.Prefix `help:"Networks whose questions are answered; default: this machine." placeholder:"NETWORK"`
	HTTP         string         `help:"Address of the pages and of /users/NAME, /offices; no login, so keep it on loopback." default:"127.0.0.1:8081" placeholder:"HOST:PORT"`
	Keys         string         `help:"File of the offices' keys, as 'siproam key' prints them: a location that home has not signed counts for nothing, and callers are sent to home." type:"path" placeholder:"FILE"`
	Level        string         `help:"debug, info, warn or error." default:"info"`
}

// Run is kong's. It ends with SIGINT or SIGTERM.
func (c *routeServe) Run(e *env) error {
	log, err := newLog(e.stderr, office.Log{Level: c.Level, Format: "auto"})
	if err != nil {
		return misuse("%v", err)
	}
	cfg := redirect.Config{Listen: c.Listen, Allow: c.Allow, Routes: routesrv.Config{Redis: c.Redis, PasswordFile: c.PasswordFile, Insecure: c.Insecure}}
	if c.Keys != "" {
		if cfg.Keys, err = redirect.ReadKeys(c.Keys); err != nil {
			return misuse("%v", err)
		}
	}
	var store *routesrv.Embedded
	switch {
	case c.Embedded != "":
		if store, err = c.embed(); err != nil {
			return err
		}
		cfg.Routes.Redis, cfg.Routes.Insecure = "redis://"+store.Addr()+"/0", true
	case c.Redis == "":
		return misuse("say --redis URL, or --embedded HOST:PORT to be the routing store")
	}
	s, err := redirect.New(cfg, log)
	if err != nil {
		return misuse("%v", err)
	}
	return beside(e.ctx, store, log, func(ctx context.Context) error { return c.serve(ctx, e, s, store, log) })
}

// embed starts the store, which must have a password where others reach it.
func (c *routeServe) embed() (*routesrv.Embedded, error) {
	password := ""
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, misuse("%v", err)
		}
		if password = strings.TrimSpace(string(b)); password == "" {
			return nil, misuse("%s is empty", c.PasswordFile)
		}
	}
	host, _, err := net.SplitHostPort(c.Embedded)
	if err != nil {
		return nil, misuse("--embedded %s: want host:port", c.Embedded)
	}
	if ip, err := netip.ParseAddr(host); password == "" && !c.Insecure && (err != nil || !ip.IsLoopback()) {
		return nil, misuse("--embedded %s: whoever reaches it can redirect every call; give --password-file, or --insecure", c.Embedded)
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, err
	}
	store, err := routesrv.StartGuarded(c.Embedded, filepath.Join(c.State, "routes.snapshot"), password)
	if err != nil {
		return nil, fmt.Errorf("routing store %s: %w", c.Embedded, office.Reason(err))
	}
	return store, nil
}

func (c *routeServe) serve(ctx context.Context, e *env, s *redirect.Server, store *routesrv.Embedded, log zerolog.Logger) error {
	l, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return fmt.Errorf("http %s: %w", c.HTTP, office.Reason(err))
	}
	pages := web.New(Version, c.HTTP, log, s)
	s.Show(pages)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	shown := make(chan error, 1)
	go func() { defer stop(); shown <- pages.Serve(ctx, l) }()
	go s.Audit(ctx, auditEvery)
	err = s.Run(ctx, func() {
		ev := log.Info().Str("event", "routesrv.ready").Strs("listen", s.Addrs()).Stringer("http", l.Addr())
		if store != nil {
			ev = ev.Str("store", store.Addr())
		}
		ev.Msg("answering where users are")
	})
	stop()
	if why := <-shown; err == nil {
		err = why
	}
	return err
}

type key struct{ target }

// Run is kong's.
func (c *key) Run(e *env) error {
	var keys []roam.OfficeKey
	if err := c.ask(e, "GET", "/key", c.query(), nil, &keys); err != nil {
		return err
	}
	return e.show(keys, func(t *tabwriter.Writer) {
		for _, k := range keys {
			fmt.Fprintf(t, "%s %s %s\n", k.Office, strings.Join(k.Domains, ","), base64.RawURLEncoding.EncodeToString(k.Public))
		}
	})
}

type routeACL struct {
	Office string   `arg:"" help:"The office's name; its Redis user is siproam-NAME."`
	Names  []string `name:"names" help:"What its users are called, which it alone may write: @south.example,+15550002xxx,2xxx; default: it may write all names." placeholder:"PATTERN"`
}

// Run is kong's.
func (c *routeACL) Run(e *env) error {
	line, err := routesrv.ACL(c.Office, c.Names...)
	if err != nil {
		return misuse("%v", err)
	}
	_, err = fmt.Fprintln(e.stdout, line)
	return err
}
