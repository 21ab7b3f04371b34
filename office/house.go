package office

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/web"
)

// House is the offices of one process, the control socket that commands use, and the pages for people.
type House struct {
	Offices []*Office
	State   string // directory of the control socket
	HTTP    string // address of the pages; "": none
	Version string
	Log     zerolog.Logger
	Again   func() ([]Config, error) // reads the configuration anew, one per office; nil: there is nothing to reload
}

// office is the one named name; nil when it is not here.
func (h *House) office(name string) *Office {
	for _, o := range h.Offices {
		if o.Name() == name && name != "" {
			return o
		}
	}
	return nil
}

// chosen is all offices, or the one named only.
func (h *House) chosen(only string) []*Office {
	if only == "" {
		return h.Offices
	}
	if o := h.office(only); o != nil {
		return []*Office{o}
	}
	return nil
}

// Run serves until ctx ends or a part fails, and gives the first failure. When every office serves phones, ready
// is called once. Offices stop side by side; the pages and the control socket stay until they have stopped.
func (h *House) Run(ctx context.Context, ready func()) error {
	control, err := listenControl(h.State)
	if err != nil {
		h.close()
		return err
	}
	defer control.Close()
	var pages net.Listener
	if h.HTTP != "" {
		if pages, err = net.Listen("tcp", h.HTTP); err != nil {
			h.close()
			return fmt.Errorf("http %s: %w", h.HTTP, Reason(err))
		}
		defer pages.Close()
	}
	return h.serve(ctx, control, pages, ready)
}

// serve runs the offices, then what people use.
func (h *House) serve(ctx context.Context, control *controlListener, pages net.Listener, ready func()) error {
	run, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var offices, people sync.WaitGroup
	meet := h.together()
	for _, o := range h.Offices {
		o.meet = meet
		offices.Go(func() {
			if err := o.Run(run); err != nil {
				fail(err)
			}
		})
	}
	open, shut := context.WithCancel(context.Background())
	people.Go(func() {
		if err := h.control(open, control); err != nil {
			fail(err)
		}
	})
	if pages != nil {
		sources := make([]web.Source, len(h.Offices))
		for i, o := range h.Offices {
			sources[i] = o
		}
		people.Go(func() {
			if err := web.New(h.Version, h.HTTP, h.Log, sources...).Serve(open, pages); err != nil {
				fail(err)
			}
		})
	}
	people.Go(func() {
		for _, o := range h.Offices {
			select {
			case <-o.Ready():
			case <-run.Done():
				return
			}
		}
		if ready != nil {
			ready()
		}
	})
	offices.Wait()
	shut()
	people.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(run)
}

// together makes a function in which each office waits for all others to have come so far, or ctx to end.
func (h *House) together() func(context.Context) {
	var here atomic.Int32
	all := make(chan struct{})
	return func(ctx context.Context) {
		if int(here.Add(1)) == len(h.Offices) {
			close(all)
		}
		select {
		case <-all:
		case <-ctx.Done():
		}
	}
}

// close gives back what New took for offices that will not run.
func (h *House) close() {
	for _, o := range h.Offices {
		o.Close()
	}
}

// Reload has every office take its configuration again; kept says, per office, what has to wait for a restart.
func (h *House) Reload(ctx context.Context) (kept map[string][]string, err error) {
	if h.Again == nil {
		return nil, fmt.Errorf("nothing to reload: the configuration was generated")
	}
	cfgs, err := h.Again()
	if err != nil {
		for _, o := range h.Offices {
			o.health.reloadOK.Store(false)
		}
		return nil, err
	}
	kept = map[string][]string{}
	for i, o := range h.Offices {
		k, err := o.Reload(ctx, cfgs[i])
		if err != nil {
			return kept, err
		}
		kept[o.Name()] = k
	}
	return kept, nil
}
