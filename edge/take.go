package edge

import (
	"slices"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// entry is what we were told of one user.
type entry struct {
	line  roam.Line
	names []string
	flows []roam.Flow // here, as indexed in Near.flows
	sync  mark        // the telling it came with last; N is 0
}

// lists takes a message of roam-lines. What is not newer than the last has been taken already, or was overtaken.
func (n *Near) lists(tx *transaction.Server, req *sip.Message) error {
	var d linesDoc
	if err := readBody(req, &d, &d.Version); err != nil {
		return err
	}
	if !d.after(n.have) {
		return tx.Reply(200)
	}
	if follows := d.Boot == n.have.Boot && d.Sync == n.have.Sync && d.N == n.have.N+1; !d.First && !follows {
		return &sip.Refused{Why: roam.Stale} // something between was lost: the registrar tells everything again
	}
	n.have = d.mark
	if d.Card != nil {
		n.card = d.Card
	}
	telling := mark{Boot: d.Boot, Sync: d.Sync}
	for i := range d.Lines {
		n.take(&d.Lines[i], telling)
	}
	if d.Whole {
		for user, e := range n.lines {
			if e.sync != telling {
				n.take(&lineDoc{User: user, Nobody: true}, telling)
			}
		}
		if n.whole != nil {
			n.whole()
			n.whole = nil
		}
		n.log.Info().Str("event", "edge.whole").Int("users", len(n.lines)).Int("flows", len(n.flows)).Msg("registrar has told everything")
	}
	for _, r := range d.Released {
		n.sw.Release(r.User, r.Device, r.Gone)
	}
	for _, f := range d.Charged {
		n.onFailed(f)
	}
	for _, s := range d.Started {
		n.onStarted(s.Office, s.At)
	}
	return tx.Reply(200)
}

// take replaces what is known of one user.
func (n *Near) take(d *lineDoc, telling mark) {
	old := n.lines[d.User]
	if old == nil {
		old = &entry{}
	}
	for _, name := range old.names {
		if n.names[name] == d.User {
			delete(n.names, name)
		}
	}
	if p := old.line.Profile; p != nil && n.numbers[p.Number] == d.User {
		delete(n.numbers, p.Number)
	}
	e := &entry{names: d.Names, sync: telling}
	if d.Nobody {
		delete(n.lines, d.User)
	} else {
		e.line, e.flows = n.line(d)
		n.lines[d.User] = e
		for _, name := range d.Names {
			n.names[name] = d.User
		}
		if p := d.Profile; d.Visitor && p != nil && p.Number != "" && len(d.Targets) > 0 {
			n.numbers[p.Number] = d.User
		}
	}
	n.owed.Lock()
	if delete(n.owed.users, d.User); d.Owed {
		n.owed.users[d.User] = true
	}
	n.owed.Unlock()
	n.index(d.User, old.flows, e.flows)
	n.left(old, e)
}

// line is d as the softswitch knows it, and the flows here that it names. What lies with another softswitch of the
// office is reached there; a flow that we have not named, or whose connection has ended, is none, and the registrar hears of
// the latter.
func (n *Near) line(d *lineDoc) (line roam.Line, flows []roam.Flow) {
	line = roam.Line{User: d.User, Visitor: d.Visitor, Epoch: d.Epoch, Profile: d.Profile, Gone: d.Gone}
	if d.Home != nil {
		line.Home = *d.Home
	}
	for _, t := range d.Targets {
		target := roam.Target{URI: t.URI, Q: t.Q, Device: t.Device, RegID: t.RegID, Agent: t.Agent, Spot: t.Spot, Office: t.Office}
		switch {
		case t.Office != "":
		case t.Edge == n.cfg.Self.ID:
			f, named := n.fromPath(t.Path)
			if !named {
				n.log.Error().Str("event", "edge.token").Str("user", string(d.User)).Msg("registrar names a flow that is not ours")
				continue
			}
			if target.Flow = f; !slices.Contains(flows, f) {
				flows = append(flows, f)
			}
			if _, err := n.tl.Target(target); err != nil {
				n.closed[f] = true
				n.loop.Later(n.say)
			}
		default:
			uri := n.uris[t.Edge]
			if uri == "" {
				continue
			}
			target = roam.Target{URI: uri, Q: t.Q, Office: n.cfg.Office}
			if slices.ContainsFunc(line.Targets, func(o roam.Target) bool { return o.URI == uri }) {
				continue // it rings all that it has
			}
		}
		line.Targets = append(line.Targets, target)
	}
	return line, flows
}

// fromPath is the flow that our own Path names.
func (n *Near) fromPath(path []string) (roam.Flow, bool) {
	if len(path) == 0 {
		return roam.Flow{}, false
	}
	a, err := sip.ParseAddress([]byte(path[0]))
	if err != nil {
		return roam.Flow{}, false
	}
	return flowOf(n.marks, a.URI.User)
}

// index keeps flows in step, and says which of them begin or cease to carry bindings.
func (n *Near) index(user roam.UserID, old, now []roam.Flow) {
	for _, f := range old {
		if slices.Contains(now, f) {
			continue
		}
		if delete(n.flows[f], user); len(n.flows[f]) == 0 {
			delete(n.flows, f)
			delete(n.closed, f)
			delete(n.silent, f)
			n.onBound(f, false)
		}
	}
	for _, f := range now {
		if n.flows[f] == nil {
			n.flows[f] = map[roam.UserID]bool{}
			n.onBound(f, true)
		}
		n.flows[f][user] = true
		for _, fn := range n.waits[f] {
			fn()
		}
		delete(n.waits, f)
	}
}

// left has the softswitch stop serving the devices that were here and are not any more.
func (n *Near) left(old, now *entry) {
	for _, t := range old.line.Targets {
		here := func(o roam.Target) bool { return o.Office == "" && o.Device == t.Device }
		if t.Office == "" && !slices.ContainsFunc(now.line.Targets, here) {
			gone := roam.Location{}
			if now.line.Gone != nil {
				gone = *now.line.Gone
			}
			n.sw.Release(old.line.User, t.Device, gone)
		}
	}
}

// serve asks the softswitch whether it serves a line (d, h).
func (n *Near) serve(tx *transaction.Server, req *sip.Message) error {
	var d serveDoc
	if err := readBody(req, &d, &d.Version); err != nil {
		return err
	}
	tx.Hold()
	line, _ := n.line(&d.Line)
	n.sw.Allocate(line, func(why roam.Refusal) {
		if why != roam.OK {
			tx.Refuse(why)
			return
		}
		_ = tx.Reply(200)
	})
	return nil
}
