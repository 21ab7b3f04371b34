package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/web"
)

type logs struct {
	Level logLevel `cmd:"" help:"Show the log level, or change it until the next start."`
}

type logLevel struct {
	target
	Level string `arg:"" optional:"" help:"debug, info, warn or error."`
}

// Run is kong's.
func (c *logLevel) Run(e *env) error {
	var is map[string]string
	method := "GET"
	if c.Level != "" {
		method = "PUT"
	}
	if err := c.ask(e, method, "/log", c.query("level", c.Level), nil, &is); err != nil {
		return err
	}
	return e.show(is, func(t *tabwriter.Writer) { fmt.Fprintln(t, is["level"]) })
}

type reload struct{ target }

// Run is kong's.
func (c *reload) Run(e *env) error {
	var kept map[string][]string
	if err := c.ask(e, "POST", "/reload", c.query(), nil, &kept); err != nil {
		return err
	}
	return e.show(kept, func(t *tabwriter.Writer) {
		for _, name := range sorted(kept) {
			fmt.Fprintf(t, "%s: configuration taken\n", name)
			if list := kept[name]; len(list) > 0 {
				fmt.Fprintf(t, "%s: needs a restart, left as it was: %s\n", name, strings.Join(list, ", "))
			}
		}
	})
}

func sorted[T any](m map[string]T) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

type healthcheck struct{ target }

// Run is kong's.
func (c *healthcheck) Run(e *env) error {
	var all []web.Health
	if err := c.ask(e, "GET", "/health", c.query(), nil, &all); err != nil {
		return err
	}
	if err := e.show(all, func(t *tabwriter.Writer) {
		for _, h := range all {
			fmt.Fprintf(t, "%s\t%s\n", h.Office, word(h.Ready, "serves phones", "does not serve phones"))
			for _, p := range h.Parts {
				fmt.Fprintf(t, "  %s\t%s\t%s\n", p.Name, word(p.OK, "ok", "away"), p.Detail)
			}
		}
	}); err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(h web.Health) bool { return !h.Ready }) {
		return &exit{code: office.ExitFailure}
	}
	return nil
}

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

type version struct{}

// Run is kong's.
func (c *version) Run(e *env) error {
	v := map[string]string{"version": Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v["revision"] = s.Value
			}
		}
	}
	return e.show(v, func(t *tabwriter.Writer) {
		fmt.Fprintf(t, "siproam %s %s %s/%s %s\n", v["version"], v["go"], v["os"], v["arch"], v["revision"])
	})
}
