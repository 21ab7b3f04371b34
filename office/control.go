package office

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/provision"
	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/softswitch"
	"github.com/siproam/siproam/web"
)

// OfficeCall is a call with the office that serves it.
type OfficeCall struct {
	Office string `json:"office"`
	softswitch.CallView
}

// OfficeUser is an account with its office.
type OfficeUser struct {
	Office string `json:"office"`
	registrar.User
}

// Problem is the answer to a command that could not be done.
type Problem struct {
	Error string `json:"error"`
	Exit  int    `json:"exit"` // the command's exit code
}

// The exit codes of commands.
const (
	ExitFailure = 1
	ExitUsage   = 2
	ExitOffline = 3
	ExitUnknown = 4
)

// usage is a request that makes no sense; the command ends with ExitUsage.
type usage string

func (u usage) Error() string { return string(u) }

// problem is err as the command gets it.
func problem(err error) (code int, p Problem) {
	p = Problem{Error: err.Error(), Exit: ExitFailure}
	var u usage
	switch {
	case errors.Is(err, roam.NoSuchUser), errors.Is(err, provision.ErrUnknown):
		p.Exit = ExitUnknown
		return http.StatusNotFound, p
	case errors.As(err, &u), errors.Is(err, roam.Ambiguous):
		p.Exit = ExitUsage
		return http.StatusBadRequest, p
	}
	return http.StatusInternalServerError, p
}

// answerFor is how long a command other than trace may take.
const answerFor = 20 * time.Second

// bodyMax bounds what a command sends: a CSV of a hundred thousand users as JSON.
const bodyMax = 64 << 20

// control answers commands on l until ctx ends. Everything is JSON; /trace is one message a line.
func (h *House) control(ctx context.Context, l *controlListener) error {
	hs := &http.Server{Handler: h.guard(l.token, h.routes()), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { hs.Close() })
	defer stop()
	if err := hs.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// guard asks for the token, where the socket is a port that others of this machine could reach.
func (h *House) guard(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+token)) != 1 {
			http.Error(w, "token", http.StatusUnauthorized)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
		next.ServeHTTP(w, r)
	})
}

// asked is a request taken apart: only is the office it names, "" for all.
type asked struct {
	*http.Request
	only string
}

func (a asked) get(key string) string { return a.URL.Query().Get(key) }

func (a asked) number(key string, otherwise int) (int, error) {
	s := a.get(key)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, usage(fmt.Sprintf("%s %q: want a number above 0", key, s))
	}
	return n, nil
}

// routes is the list of everything a command can ask.
func (h *House) routes() *http.ServeMux {
	mux := http.NewServeMux()
	on := func(pattern string, do func(ctx context.Context, a asked) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), answerFor)
			defer cancel()
			a := asked{r, r.URL.Query().Get("office")}
			v, err := any(nil), error(nil)
			if a.only != "" && h.office(a.only) == nil {
				err = usage(fmt.Sprintf("office %q does not run here", a.only))
			} else {
				v, err = do(ctx, a)
			}
			code := http.StatusOK
			if err != nil {
				code, v = problem(err)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			json.NewEncoder(w).Encode(v) // an error is the command's end
		})
	}
	on("GET /health", func(ctx context.Context, a asked) (any, error) { return h.allHealth(ctx, a.only) })
	on("GET /where", h.answerWhere)
	on("GET /explain", func(ctx context.Context, a asked) (any, error) {
		return named(a, func(name string) (any, error) { return h.Explain(ctx, name, a.get("from"), a.only) })
	})
	on("GET /key", func(ctx context.Context, a asked) (any, error) { return h.Keys(ctx, a.only) })
	on("GET /moves", func(ctx context.Context, a asked) (any, error) {
		return named(a, func(name string) (any, error) {
			w, err := h.Where(ctx, name, a.only)
			if err != nil {
				return nil, err
			}
			return h.Moves(ctx, w.User)
		})
	})
	on("POST /release", func(ctx context.Context, a asked) (any, error) {
		return named(a, func(name string) (any, error) { return h.Release(ctx, name, a.only) })
	})
	on("POST /resync", func(_ context.Context, a asked) (any, error) { return h.Resync(a.only), nil })
	on("GET /leases", func(ctx context.Context, a asked) (any, error) {
		return h.Leases(ctx, a.only, a.get("state"), a.get("word"))
	})
	on("GET /calls", func(ctx context.Context, a asked) (any, error) { return h.Calls(ctx, a.only) })
	on("POST /hangup", func(ctx context.Context, a asked) (any, error) { return h.hangup(ctx, a.only, a.get("id")) })
	on("GET /cdr", h.answerCDR)
	on("GET /log", func(context.Context, asked) (any, error) { return map[string]string{"level": level()}, nil })
	on("PUT /log", func(_ context.Context, a asked) (any, error) {
		if err := SetLevel(a.get("level")); err != nil {
			return nil, usage(err.Error())
		}
		return map[string]string{"level": level()}, nil
	})
	on("POST /reload", func(ctx context.Context, a asked) (any, error) { return h.Reload(ctx) })
	h.userRoutes(on)
	h.phoneRoutes(on)
	mux.HandleFunc("GET /trace", h.answerTrace)
	return mux
}

// named does what is asked of the user that a names.
func named(a asked, do func(name string) (any, error)) (any, error) {
	name := a.get("user")
	if name == "" {
		return nil, usage("which user?")
	}
	v, err := do(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

func level() string { return zerolog.GlobalLevel().String() }

func (h *House) allHealth(ctx context.Context, only string) (any, error) {
	var all []web.Health
	for _, o := range h.chosen(only) {
		one, err := o.Health(ctx)
		if err != nil {
			return nil, fmt.Errorf("office %s: %w", o.Name(), err)
		}
		all = append(all, one)
	}
	return all, nil
}

func (h *House) answerWhere(ctx context.Context, a asked) (any, error) {
	if name := a.get("user"); name != "" {
		w, err := h.Where(ctx, name, a.only)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return w, nil
	}
	max, err := a.number("max", 1000)
	if err != nil {
		return nil, err
	}
	return h.Everybody(ctx, a.only, max)
}

// Calls is the calls in progress at the offices of this process.
func (h *House) Calls(ctx context.Context, only string) ([]OfficeCall, error) {
	all := []OfficeCall{}
	for _, o := range h.chosen(only) {
		list, err := o.inProgress(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			all = append(all, OfficeCall{o.Name(), c})
		}
	}
	return all, nil
}

func (h *House) hangup(ctx context.Context, only, id string) (any, error) {
	for _, o := range h.chosen(only) {
		if o.sw == nil {
			return nil, errNoSwitch
		}
		found, err := o.sw.Hangup(ctx, id)
		if err != nil {
			return nil, err
		}
		if found {
			return map[string]string{"office": o.Name(), "id": id}, nil
		}
	}
	return nil, fmt.Errorf("call %s: there is none by that id", id)
}

// answerCDR lists records, the newest first; user is a name as `where` takes it.
func (h *House) answerCDR(ctx context.Context, a asked) (any, error) {
	max, err := a.number("max", 50)
	if err != nil {
		return nil, err
	}
	var user roam.UserID
	if name := a.get("user"); name != "" {
		w, err := h.Where(ctx, name, "")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		user = w.User
	}
	return h.Records(ctx, user, a.only, a.get("after"), max)
}

// Records is the newest records in the ledgers of the offices of this process, newest first; the same record
// may be in two of them: where the call was served, and at home.
func (h *House) Records(ctx context.Context, user roam.UserID, only, after string, max int) ([]roam.CDR, error) {
	all, seen := []roam.CDR{}, map[string]bool{}
	for _, o := range h.chosen(only) {
		list, err := o.ledger.List(ctx, user, after, max)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			if !seen[c.ID] {
				seen[c.ID] = true
				all = append(all, c)
			}
		}
	}
	newestFirst(all)
	return all[:min(len(all), max)], nil
}

// answerTrace gives one message a line for as long as the command reads.
func (h *House) answerTrace(w http.ResponseWriter, r *http.Request) {
	ctl := http.NewResponseController(w)
	a := asked{r, r.URL.Query().Get("office")}
	users := h.namesOf(r.Context(), r.URL.Query()["user"])
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	ctl.Flush()
	out := json.NewEncoder(w)
	h.Trace(r.Context(), users, a.only, func(s Seen) error {
		if err := out.Encode(s); err != nil {
			return err
		}
		return ctl.Flush()
	})
}

// namesOf is every name of users: as given, canonical, number, extension and aliases.
func (h *House) namesOf(ctx context.Context, users []string) (all []string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, u := range users {
		all = append(all, u)
		if w, err := h.Where(ctx, u, ""); err == nil {
			all = append(all, string(w.User))
			if w.Number != "" {
				all = append(all, w.Number)
			}
			all = append(all, w.Aliases...)
		}
	}
	return all
}

// body reads a request's JSON.
func body(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return usage("request: " + err.Error())
	}
	return nil
}
