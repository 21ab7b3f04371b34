package office

import (
	"context"
	"errors"
	"fmt"

	"github.com/siproam/siproam/provision"
)

// errNoSettings says that phones get no settings here.
var errNoSettings = errors.New("phones get no settings here: provision.listen is not given")

// phoneRoutes is what `phones` asks.
func (h *House) phoneRoutes(on func(string, func(context.Context, asked) (any, error))) {
	on("GET /phones", func(ctx context.Context, a asked) (any, error) { return h.phones(ctx, a.only) })
	on("POST /phone", func(ctx context.Context, a asked) (any, error) {
		o, _, err := h.owner(ctx, a.get("user"), a.only)
		if err != nil {
			return nil, err
		}
		return o.phone(a.get("mac"), func(m provision.MAC) (provision.Phone, error) {
			return o.settings.Add(ctx, m, a.get("user"), a.get("vendor"))
		})
	})
	on("POST /phone/reset", func(ctx context.Context, a asked) (any, error) {
		return h.ofPhone(a, func(o *Office, m provision.MAC) (provision.Phone, error) { return o.settings.Reset(ctx, m) })
	})
	on("DELETE /phone", func(ctx context.Context, a asked) (any, error) {
		return h.ofPhone(a, func(o *Office, m provision.MAC) (provision.Phone, error) { return o.settings.Remove(ctx, m) })
	})
}

// phones is the phones of the offices here that give them settings.
func (h *House) phones(ctx context.Context, only string) ([]OfficePhone, error) {
	all, some := []OfficePhone{}, false
	for _, o := range h.chosen(only) {
		if o.settings == nil {
			continue
		}
		some = true
		list, err := o.givenPhones(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	if !some {
		return nil, usage(errNoSettings.Error())
	}
	return all, nil
}

// phone does what is asked with a phone of o.
func (o *Office) phone(mac string, do func(provision.MAC) (provision.Phone, error)) (any, error) {
	if o.settings == nil {
		return nil, usage(fmt.Sprintf("office %s: %v", o.Name(), errNoSettings))
	}
	m, ok := provision.ParseMAC(mac)
	if !ok {
		return nil, usage(fmt.Sprintf("%q: %v", mac, provision.ErrMAC))
	}
	p, err := do(m)
	switch {
	case errors.Is(err, provision.ErrMAC), errors.Is(err, provision.ErrVendor):
		return nil, usage(err.Error())
	case err != nil:
		return nil, err
	}
	return OfficePhone{Office: o.Name(), Phone: p}, nil
}

// ofPhone does what is asked in the office of this process that has the phone.
func (h *House) ofPhone(a asked, do func(*Office, provision.MAC) (provision.Phone, error)) (v any, err error) {
	err = usage(errNoSettings.Error())
	for _, o := range h.chosen(a.only) {
		if o.settings == nil {
			continue
		}
		v, err = o.phone(a.get("mac"), func(m provision.MAC) (provision.Phone, error) { return do(o, m) })
		if !errors.Is(err, provision.ErrUnknown) {
			return v, err
		}
	}
	return nil, err
}
