package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"github.com/siproam/siproam/config"
	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/routesrv"
)

// embeddedAddr is where serve's embedded routing store listens; redis-cli -p 6390 looks into it.
const embeddedAddr = "127.0.0.1:6390"

type serve struct {
	Config string `short:"c" required:"" type:"path" placeholder:"FILE" help:"The office's configuration."`
	State  string `type:"path" placeholder:"DIR" help:"Instead of the file's state: to try a file out."`
}

// read reads the file over the defaults. Mistakes are *config.Mistake.
func (c *serve) read() (office.Config, error) {
	cfg := office.DefaultConfig()
	err := config.Read(c.Config, &cfg)
	var path *os.PathError
	if errors.As(err, &path) {
		return cfg, misuse("%s: %v", path.Path, path.Err)
	}
	if c.State != "" {
		cfg.State = c.State
	}
	return cfg, err
}

// Run is kong's. It ends with SIGINT or SIGTERM, and reads the file again on SIGHUP.
func (c *serve) Run(e *env) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	log, err := newLog(e.stderr, cfg.Log)
	if err != nil {
		return misuse("%v", err)
	}
	unprofile, err := profile(os.Getenv(profileEnv))
	if err != nil {
		return misuse("%v", err)
	}
	defer unprofile()
	store, err := embedded(&cfg)
	if err != nil {
		return err
	}
	o, err := office.New(cfg, log)
	if err != nil {
		return err
	}
	h := &office.House{Offices: []*office.Office{o}, State: cfg.State, HTTP: cfg.HTTP.Listen, Version: Version, Log: log}
	h.Again = func() ([]office.Config, error) {
		next, err := c.read()
		if store != nil {
			next.Routes.Redis = cfg.Routes.Redis // still the embedded one
		}
		return []office.Config{next}, err
	}
	defer onHangup(h, log)()
	return beside(e.ctx, store, log, func(ctx context.Context) error { return h.Run(ctx, nil) })
}

// embedded starts the routing store inside this process, if that is the one to use, and points cfg at it.
func embedded(cfg *office.Config) (*routesrv.Embedded, error) {
	if cfg.Routes.Redis != "embedded" {
		return nil, nil
	}
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return nil, err
	}
	store, err := routesrv.StartEmbedded(embeddedAddr, filepath.Join(cfg.State, "routes.snapshot"))
	if err != nil {
		return nil, fmt.Errorf("routing store %s: %w", embeddedAddr, office.Reason(err))
	}
	cfg.Routes.Redis = "redis://" + store.Addr() + "/0"
	return store, nil
}

// beside runs the embedded store, if there is one, for as long as run takes and a little longer: the offices
// take their signs of life back before it goes.
func beside(ctx context.Context, store *routesrv.Embedded, log zerolog.Logger, run func(context.Context) error) error {
	if store == nil {
		return run(ctx)
	}
	open, shut := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(open) }()
	err := run(ctx)
	shut()
	if why := <-ended; why != nil {
		log.Error().Str("event", "routes.embedded").Err(why).Msg("routing store not saved")
	}
	return err
}

// onHangup reloads at each SIGHUP until the returned function is called.
func onHangup(h *office.House, log zerolog.Logger) (stop func()) {
	hup := make(chan os.Signal, 1) // one waiting reload is enough: it reads what is newest
	signal.Notify(hup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				if _, err := h.Reload(ctx); err != nil {
					log.Error().Str("event", "office.reload").Err(err).Msg("reload refused; all goes on as before")
				}
			}
		}
	}()
	return func() { signal.Stop(hup); cancel() }
}

// newLog is the log the file asks for.
func newLog(w io.Writer, cfg office.Log) (zerolog.Logger, error) {
	terminal := false
	if f, ok := w.(*os.File); ok {
		terminal = term.IsTerminal(int(f.Fd()))
	}
	return office.NewLog(w, cfg.Format == "text" || cfg.Format == "auto" && terminal, terminal, cfg.Level)
}

type initialise struct{}

// Run is kong's.
func (c *initialise) Run(e *env) error {
	_, err := io.WriteString(e.stdout, e.example)
	return err
}

type check struct {
	Config []string `short:"c" required:"" type:"path" placeholder:"FILE" help:"The office's configuration; of several offices, whether they go together."`
}

// Run is kong's.
func (c *check) Run(e *env) error {
	var all []office.Config
	for _, file := range c.Config {
		cfg, err := (&serve{Config: file}).read()
		if err != nil {
			return err
		}
		all = append(all, cfg)
	}
	if clashes := office.Clashes(all); len(clashes) > 0 {
		return misuse("%s: %s", strings.Join(c.Config, ", "), strings.Join(clashes, "; "))
	}
	for i, file := range c.Config {
		if err := e.checked(file, all[i]); err != nil {
			return err
		}
	}
	return nil
}

// checked shows one configuration that can be read.
func (e *env) checked(file string, cfg office.Config) error {
	if err := cfg.Files(); err != nil {
		return misuse("%s: %v", file, err)
	}
	for _, w := range cfg.Doubts() {
		fmt.Fprintf(e.stderr, "%s: %s\n", file, w)
	}
	cfg = cfg.Effective()
	if e.json {
		return e.show(map[string]any{"config": cfg, "ports": cfg.Ports()}, nil)
	}
	effective, err := config.Format(&cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "# %s is right. All values, defaults included:\n%s\n# Ports to open:\n", file, effective)
	return e.show(nil, func(t *tabwriter.Writer) {
		for _, p := range cfg.Ports() {
			fmt.Fprintf(t, "#   %s\t%s\t%s\n", p.Port, p.From, p.What)
		}
	})
}
