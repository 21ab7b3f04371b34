package office

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
)

// userRoutes is what `user` asks.
func (h *House) userRoutes(on func(string, func(context.Context, asked) (any, error))) {
	on("GET /users", func(ctx context.Context, a asked) (any, error) { return h.users(ctx, a.only) })
	on("GET /user", func(ctx context.Context, a asked) (any, error) {
		_, u, err := h.owner(ctx, a.get("user"), a.only)
		return u, err
	})
	on("POST /users", h.answerAdd)
	on("POST /users/import", h.answerImport)
	on("PATCH /user", func(ctx context.Context, a asked) (any, error) {
		var c registrar.Change
		err := body(a.Body, &c)
		if err != nil {
			return nil, err
		}
		return h.change(ctx, a, func(o *Office, id roam.UserID) error {
			domain := o.Config().Domain
			c.AddAlias, c.DelAlias = inDomain(c.AddAlias, domain), inDomain(c.DelAlias, domain)
			for key, to := range c.Set {
				if c.Set[key], err = h.destination(ctx, o, key, to); err != nil {
					return err
				}
			}
			return o.reg.Change(ctx, id, c)
		})
	})
	on("DELETE /user", func(ctx context.Context, a asked) (any, error) {
		return h.change(ctx, a, func(o *Office, id roam.UserID) error { return o.reg.Remove(ctx, id) })
	})
}

func (h *House) users(ctx context.Context, only string) ([]OfficeUser, error) {
	all := []OfficeUser{}
	for _, o := range h.chosen(only) {
		list, err := o.users(ctx)
		if err != nil {
			return nil, err
		}
		for _, u := range list {
			all = append(all, OfficeUser{o.Name(), u})
		}
	}
	return all, nil
}

// owner finds the office of this process that has the account of name.
func (h *House) owner(ctx context.Context, name, only string) (*Office, OfficeUser, error) {
	for _, o := range h.chosen(only) {
		reg, err := o.registrar()
		if err != nil {
			return nil, OfficeUser{}, err
		}
		st, err := reg.Where(ctx, name)
		if err == nil && !st.Visitor {
			return o, OfficeUser{o.Name(), st.User}, nil
		}
		if err != nil && !errors.Is(err, roam.NoSuchUser) {
			return nil, OfficeUser{}, err
		}
	}
	return nil, OfficeUser{}, fmt.Errorf("%s: %w", name, roam.NoSuchUser)
}

// change finds an account, lets do change it, and gives what it is then.
func (h *House) change(ctx context.Context, a asked, do func(*Office, roam.UserID) error) (any, error) {
	o, u, err := h.owner(ctx, a.get("user"), a.only)
	if err != nil {
		return nil, err
	}
	if err := o.fromState(); err != nil {
		return nil, err
	}
	if err := do(o, u.ID); err != nil {
		return nil, fmt.Errorf("%s: %w", u.ID, err)
	}
	if st, err := o.reg.Where(ctx, string(u.ID)); err == nil {
		u.User = st.User
	}
	return u, nil
}

// fromState refuses changes that the next reload would undo.
func (o *Office) fromState() error {
	if source := o.Config().Users.Source; source != "state" {
		return usage(fmt.Sprintf("accounts of %s come from %s: change them there, then siproam reload", o.Name(), source))
	}
	return nil
}

// home is the office of this process that an account called id belongs to.
func (h *House) home(id roam.UserID, only string) (*Office, error) {
	_, host, found := strings.Cut(string(id), "@")
	list := h.chosen(only)
	for _, o := range list {
		if _, err := o.registrar(); err != nil {
			return nil, err
		}
	}
	if !found {
		if len(list) == 1 {
			return list[0], nil
		}
		return nil, usage(fmt.Sprintf("user %s: which office? say --office or the whole address", id))
	}
	for _, o := range list {
		if strings.EqualFold(o.Config().Domain, host) {
			return o, nil
		}
	}
	return nil, usage(fmt.Sprintf("user %s: no office here has that domain", id))
}

func (h *House) answerAdd(ctx context.Context, a asked) (any, error) {
	var one registrar.Account
	if err := body(a.Body, &one); err != nil {
		return nil, err
	}
	o, err := h.home(one.ID, a.only)
	if err != nil {
		return nil, err
	}
	if err := o.fromState(); err != nil {
		return nil, err
	}
	cfg := o.Config()
	if one, err = Complete(&cfg, one); err != nil {
		return nil, usage(err.Error())
	}
	if err := o.reg.Add(ctx, []registrar.Account{one}); err != nil {
		return nil, err
	}
	return OfficeUser{o.Name(), one.User}, nil
}

// answerImport takes a CSV, all of it or nothing.
func (h *House) answerImport(ctx context.Context, a asked) (any, error) {
	list := h.chosen(a.only)
	if len(list) != 1 {
		return nil, usage("import: which office? say --office")
	}
	o := list[0]
	if _, err := o.registrar(); err != nil {
		return nil, err
	}
	if err := o.fromState(); err != nil {
		return nil, err
	}
	var csv bytes.Buffer
	if _, err := csv.ReadFrom(a.Body); err != nil {
		return nil, err
	}
	cfg := o.Config()
	accounts, err := ReadAccounts(&cfg, cmp.Or(a.get("name"), "CSV"), &csv)
	if err != nil {
		return nil, usage(err.Error())
	}
	if err := o.reg.Add(ctx, accounts); err != nil {
		return nil, err
	}
	return map[string]any{"office": o.Name(), "added": len(accounts)}, nil
}

// newestFirst sorts records by when their call began.
func newestFirst(all []roam.CDR) {
	slices.SortStableFunc(all, func(a, b roam.CDR) int { return b.Start.Compare(a.Start) })
}
