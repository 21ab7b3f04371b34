package office

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/softswitch/plan"
)

// Complete fills in what a person leaves out of an account: the domain of a bare name, and, for an
// extension of the dialling plan, the extension and its public number.
func Complete(cfg *Config, a registrar.Account) (registrar.Account, error) {
	user, host, found := strings.Cut(string(a.ID), "@")
	if !found {
		host = cfg.Domain
	}
	if user == "" || strings.ContainsAny(user, " \t\r\n<>\"@;?,") {
		return a, fmt.Errorf("user %q: not a name", a.ID)
	}
	if !strings.EqualFold(host, cfg.Domain) {
		return a, fmt.Errorf("user %s: the domain here is %s", a.ID, cfg.Domain)
	}
	a.ID = roam.UserID(user + "@" + cfg.Domain)
	if strings.Trim(user, "0123456789") == "" {
		if a.Short == "" {
			a.Short = user
		}
		if d, err := plan.Read(user, "", true, &cfg.Numbers); a.Number == "" && err == nil && d.Global {
			a.Number = d.User
		}
	}
	a.Aliases = inDomain(a.Aliases, cfg.Domain)
	return a, nil
}

// inDomain is names with domain where one has none; numbers stay numbers.
func inDomain(names []string, domain string) []string {
	var all []string
	for _, n := range names {
		if !strings.Contains(n, "@") && !strings.HasPrefix(n, "+") {
			n += "@" + domain
		}
		all = append(all, n)
	}
	return all
}

// columns is what a CSV of accounts may hold.
var columns = slices.Concat([]string{"user", "number", "short", "aliases", "password", "ha1", "ha1_sha256", "algorithms"}, registrar.Settings)

// ReadAccounts reads a CSV of accounts: a first line that names its columns, of which user and one of
// password and ha1 must be there; aliases are separated by blanks. ha1 is MD5(user:realm:password) in
// hex, ha1_sha256 the same with SHA-256; it covers the login name user only. algorithms is md5,
// sha-256 or both. The rest are settings as registrar.User.Set reads them. All mistakes come at once,
// each with its line.
func ReadAccounts(cfg *Config, name string, r io.Reader) ([]registrar.Account, error) {
	in := csv.NewReader(r)
	in.TrimLeadingSpace, in.Comment = true, '#'
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: no first line with the names of the columns: %w", name, err)
	}
	for i, h := range head {
		head[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))
		if !slices.Contains(columns, head[i]) {
			return nil, fmt.Errorf("%s:1: column %q is unknown; want %s", name, h, strings.Join(columns, ", "))
		}
	}
	if !slices.Contains(head, "user") {
		return nil, fmt.Errorf("%s:1: no column user", name)
	}
	var all []registrar.Account
	var errs []error
	for {
		row, err := in.Read()
		if err == io.EOF {
			return all, errors.Join(errs...)
		}
		line, _ := in.FieldPos(0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err) // csv names the line itself
		}
		a, err := account(cfg, head, row)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, line, err))
		}
		all = append(all, a)
	}
}

// account makes an account of one row.
func account(cfg *Config, head, row []string) (a registrar.Account, err error) {
	var ha1 [2]string
	for i, h := range head {
		v := strings.TrimSpace(row[i])
		switch h {
		case "user":
			a.ID = roam.UserID(v)
		case "number":
			a.Number = v
		case "short":
			a.Short = v
		case "aliases":
			a.Aliases = strings.Fields(v)
		case "password":
			a.Password = v
		case "ha1":
			ha1[0] = strings.ToLower(v)
		case "ha1_sha256":
			ha1[1] = strings.ToLower(v)
		case "algorithms":
			a.Algorithms = strings.Fields(v)
		default:
			if strings.HasPrefix(h, "forward.") && h != "forward.after" && v != "" {
				if v, err = destination(*cfg, h, v); err != nil {
					return a, fmt.Errorf("user %s: %w", a.ID, err)
				}
			}
			if err := a.Set(h, v); err != nil {
				return a, fmt.Errorf("user %s: %w", a.ID, err)
			}
		}
	}
	if a, err = Complete(cfg, a); err != nil {
		return a, err
	}
	switch kept := ha1[0] != "" || ha1[1] != ""; {
	case kept && a.Password != "":
		return a, fmt.Errorf("user %s: a password and an ha1; want one", a.ID)
	case !kept && a.Password == "":
		return a, fmt.Errorf("user %s: neither password nor ha1", a.ID)
	case kept:
		for i, size := range []int{16, 32} {
			if b, err := hex.DecodeString(ha1[i]); ha1[i] != "" && (err != nil || len(b) != size) {
				return a, fmt.Errorf("user %s: an ha1 is %d hex digits", a.ID, 2*size)
			}
		}
		login, _, _ := strings.Cut(string(a.ID), "@")
		a.HA1 = map[string][]string{login: ha1[:]}
	}
	return a, nil
}

// Seed is accounts that an office is to have from its start on; others may be added later.
type Seed struct {
	CSV   []byte
	Reset bool // give those that are there already their password again
}

// plant makes the seed's accounts.
func (o *Office) plant(ctx context.Context) error {
	if o.Seed == nil || o.reg == nil {
		return nil
	}
	cfg := o.Config()
	want, err := ReadAccounts(&cfg, "seed", bytes.NewReader(o.Seed.CSV))
	if err != nil {
		return err
	}
	have, err := o.users(ctx)
	if err != nil {
		return err
	}
	var fresh []registrar.Account
	for _, a := range want {
		switch known := slices.ContainsFunc(have, func(u registrar.User) bool { return u.ID == a.ID }); {
		case !known:
			fresh = append(fresh, a)
		case o.Seed.Reset:
			if err := o.reg.Change(ctx, a.ID, registrar.Change{Password: &a.Password}); err != nil {
				return fmt.Errorf("user %s: %w", a.ID, err)
			}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return o.reg.Add(ctx, fresh)
}

// syncUsers makes the accounts those of the CSV file, when that is where they come from.
func (o *Office) syncUsers(ctx context.Context) error {
	cfg := o.Config()
	if cfg.Users.Source == "state" || o.reg == nil {
		return nil
	}
	b, err := os.ReadFile(cfg.Users.Source)
	if err != nil {
		return fmt.Errorf("users.source: %w", err)
	}
	want, err := ReadAccounts(&cfg, cfg.Users.Source, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("users.source: %w", err)
	}
	have, err := o.users(ctx)
	if err != nil {
		return err
	}
	return o.makeUsers(ctx, have, want)
}

// users is every account, a page at a time.
func (o *Office) users(ctx context.Context) (all []registrar.User, err error) {
	var after roam.UserID
	reg, err := o.registrar()
	if err != nil {
		return nil, err
	}
	for {
		page, err := reg.Users(ctx, after, 1000)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
}

// makeUsers turns what there is into what the file says. What the file cannot change (an HA1, a number)
// is changed by removing and adding the account again, which ends its registrations.
func (o *Office) makeUsers(ctx context.Context, have []registrar.User, want []registrar.Account) error {
	known := map[roam.UserID]registrar.User{}
	for _, u := range have {
		known[u.ID] = u
	}
	var fresh []registrar.Account
	for _, a := range want {
		u, found := known[a.ID]
		delete(known, a.ID)
		switch {
		case !found:
			fresh = append(fresh, a)
		case a.Password != "" && u.Number == a.Number && u.Short == a.Short:
			if err := o.reg.Change(ctx, a.ID, difference(u, a)); err != nil {
				return fmt.Errorf("user %s: %w", a.ID, err)
			}
		default:
			if err := o.reg.Remove(ctx, a.ID); err != nil {
				return fmt.Errorf("user %s: %w", a.ID, err)
			}
			fresh = append(fresh, a)
		}
	}
	for id := range known {
		if err := o.reg.Remove(ctx, id); err != nil {
			return fmt.Errorf("user %s: %w", id, err)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return o.reg.Add(ctx, fresh)
}

// difference is what makes u into a.
func difference(u registrar.User, a registrar.Account) registrar.Change {
	c := registrar.Change{Password: &a.Password}
	for _, key := range registrar.Settings {
		if now := a.Text(key); now != u.Text(key) {
			if c.Set == nil {
				c.Set = map[string]string{}
			}
			c.Set[key] = now
		}
	}
	for _, alias := range a.Aliases {
		if !slices.Contains(u.Aliases, alias) {
			c.AddAlias = append(c.AddAlias, alias)
		}
	}
	for _, alias := range u.Aliases {
		if !slices.Contains(a.Aliases, alias) {
			c.DelAlias = append(c.DelAlias, alias)
		}
	}
	return c
}

// Settings is what `user set` changes, and columns of a CSV.
var Settings = registrar.Settings
