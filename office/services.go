package office

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/softswitch/plan"
)

// destination is value as the setting key holds it. A profile has values only, which mean the same everywhere, so where
// calls are forwarded to is read here, under the plan of the user's home: an extension or alias becomes the
// canonical address of whose it is, a number E.164.
func (h *House) destination(ctx context.Context, o *Office, key, value string) (string, error) {
	if !strings.HasPrefix(key, "forward.") || key == "forward.after" || value == "" {
		return value, nil
	}
	to, err := destination(o.Config(), key, value)
	if err == nil && strings.Contains(to, "@") { // not a number: it must be somebody's
		var w Whereabouts
		if w, err = o.Where(ctx, strings.TrimSuffix(to, "@"+o.Config().Domain)); err == nil {
			return string(w.User), nil
		}
		if errors.Is(err, roam.NoSuchUser) && !strings.HasSuffix(to, "@"+o.Config().Domain) {
			return to, nil // of a domain that nobody here knows, or not yet
		}
		err = fmt.Errorf("%s %s: %w", key, value, err)
	}
	return to, err
}

// destination is value as a number or an address, by the dialling plan alone.
func destination(cfg Config, key, value string) (string, error) {
	value = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(value), "sip:"), "tel:")
	user, host, found := strings.Cut(value, "@")
	if found && !strings.EqualFold(host, cfg.Domain) {
		return value, nil
	}
	d, err := plan.Read(user, "", true, &cfg.Numbers)
	switch {
	case d.Emergency:
		return "", usage(fmt.Sprintf("%s: %s is an emergency number", key, value))
	case d.Global && err == nil:
		return d.User, nil
	case user == "":
		return "", usage(fmt.Sprintf("%s: %q is nobody", key, value))
	}
	return d.User + "@" + cfg.Domain, nil
}
