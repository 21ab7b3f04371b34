package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/siproam/siproam/config"
	"github.com/siproam/siproam/office"
)

// write makes what up would run as files for serve: an office.yaml for each office, its accounts and certificates.
func (l *lab) write(e *env) error {
	if err := l.makeAccounts(); err != nil {
		return err
	}
	if err := l.certificates(); err != nil {
		return err
	}
	for i := range labOffices {
		cfg := l.written(i)
		if err := cfg.Validate(); err != nil {
			return err
		}
		if err := os.MkdirAll(cfg.State, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(cfg.Users.Source, l.seed(i), 0o600); err != nil {
			return err
		}
		text, err := config.Format(&cfg)
		if err != nil {
			return err
		}
		path := filepath.Join(cfg.State, "office.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
		fmt.Fprintln(e.stdout, path)
	}
	fmt.Fprintln(e.stdout, filepath.Join(l.state, accountsFile))
	return nil
}

// written is the configuration of one office on its own: pages one port above each other, and, without a Redis,
// the routing store embedded in north.
func (l *lab) written(i int) office.Config {
	redis := l.redis
	switch {
	case redis != "":
	case i == 0:
		redis = "embedded"
	default:
		redis = "redis://" + embeddedAddr + "/0"
	}
	cfg := l.config(i, redis)
	cfg.Users.Source = filepath.Join(cfg.State, "users.csv")
	cfg.HTTP.Listen = fmt.Sprintf("%s:%d", loopback, l.ports.http+i)
	return cfg
}
