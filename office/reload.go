package office

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/rs/zerolog"
)

// fixed is what cannot change while the office runs: its names, files and sockets.
var fixed = []struct {
	key string
	of  func(c *Config) any
}{
	{"office", func(c *Config) any { return &c.Office }},
	{"domain", func(c *Config) any { return &c.Domain }},
	{"aliases", func(c *Config) any { return &c.Aliases }},
	{"state", func(c *Config) any { return &c.State }},
	{"roles", func(c *Config) any { return &c.Roles }},
	{"processes", func(c *Config) any { return &c.Processes }},
	{"listen", func(c *Config) any { return &c.Listen }},
	{"websocket", func(c *Config) any { return &c.WebSocket }},
	{"partner_listen", func(c *Config) any { return &c.PartnerListen }},
	{"tls.partner_ca", func(c *Config) any { return &c.TLS.PartnerCA }},
	{"uri", func(c *Config) any { return &c.URI }},
	{"advertise", func(c *Config) any { return &c.Advertise }},
	{"local_networks", func(c *Config) any { return &c.LocalNetworks }},
	{"media", func(c *Config) any { return &c.Media }},
	{"routes", func(c *Config) any { return &c.Routes }},
	{"dhcp.mode", func(c *Config) any { return &c.DHCP.Mode }},
	{"dhcp.interfaces", func(c *Config) any { return &c.DHCP.Interfaces }},
	{"nameserver.listen", func(c *Config) any { return &c.NameServer.Listen }},
	{"provision.listen", func(c *Config) any { return &c.Provision.Listen }},
	{"http", func(c *Config) any { return &c.HTTP }},
	{"log.format", func(c *Config) any { return &c.Log.Format }},
}

// Reload takes a new configuration, the certificate files and the users' file without dropping a call or a
// registration. What cannot change while the office runs stays as it was and is named in kept. After an error
// everything is as it was, but for users taken before the one that was refused.
func (o *Office) Reload(ctx context.Context, cfg Config) (kept []string, err error) {
	defer func() {
		o.health.reloadOK.Store(err == nil)
		if err != nil {
			o.log.Error().Str("event", "office.reload").Err(err).Msg("reload refused")
		}
	}()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	was := o.Config()
	for _, f := range fixed {
		is, now := reflect.ValueOf(f.of(&was)).Elem(), reflect.ValueOf(f.of(&cfg)).Elem()
		if !reflect.DeepEqual(is.Interface(), now.Interface()) {
			kept = append(kept, f.key)
			now.Set(is)
		}
	}
	if keepForeign(&was, &cfg) {
		kept = append(kept, "partners.foreign")
	}
	if err := o.partners.reload(cfg); err != nil {
		return nil, err
	}
	if o.settings != nil {
		if err := o.settings.Reload(cfg.settings()); err != nil {
			return nil, fmt.Errorf("provision: %w", err)
		}
	}
	o.mu.Lock()
	o.cfg = cfg
	o.mu.Unlock()
	if err := o.syncUsers(ctx); err != nil {
		return nil, err
	}
	if err := o.settlePhones(ctx); err != nil {
		return nil, err
	}
	names, card := names(cfg), card(cfg)
	var refused error
	if err := o.loop.Do(ctx, func() {
		if o.dhcp != nil {
			if refused = o.dhcp.Reload(cfg.dhcp()); refused != nil {
				return
			}
		}
		if o.reg != nil {
			o.reg.Reload(registrarConfig(cfg, names, card))
		}
		if o.sw != nil {
			o.sw.Reload(o.switchConfig(cfg))
			o.routes.Announce(card)
		}
	}); err != nil || refused != nil {
		return nil, fmt.Errorf("reload: %w", errors.Join(err, refused))
	}
	o.transport.Overload(cfg.Overload)
	if o.names != nil {
		o.names.Reload(cfg.nameServer())
	}
	if was.Log.Level != cfg.Log.Level {
		SetLevel(cfg.Log.Level)
	}
	o.logMessages(cfg.Log.SIP)
	o.health.reloaded.Store(time.Now().Unix())
	o.log.Info().Str("event", "office.reload").Strs("kept", kept).Msg("configuration taken")
	return kept, nil
}

// SetLevel changes what this process logs: debug, info, warn or error. It is of the process, since all
// offices of a process write one log.
func SetLevel(level string) error {
	l, err := zerolog.ParseLevel(level)
	if err != nil || level == "" || l < zerolog.DebugLevel || l > zerolog.ErrorLevel {
		return fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	zerolog.SetGlobalLevel(l)
	return nil
}
