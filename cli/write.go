package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/siproam/siproam/config"
	"github.com/siproam/siproam/office"
)

// write makes what up would run as files for serve: an office.yaml for each office, its accounts and certificates, and
// what its Redis needs if that was asked for.
func (l *lab) write(e *env) error {
	if err := l.makeAccounts(); err != nil {
		return err
	}
	if err := l.certificates(); err != nil {
		return err
	}
	if l.redisConf {
		path, err := l.writeRedis()
		if err != nil {
			return err
		}
		fmt.Fprintln(e.stdout, path)
	}
	for i := range labOffices {
		path, err := l.writeOffice(i)
		if err != nil {
			return err
		}
		fmt.Fprintln(e.stdout, path)
	}
	fmt.Fprintln(e.stdout, filepath.Join(l.state, accountsFile))
	return nil
}

// writeOffice makes the state directory of one office with its accounts and its configuration.
func (l *lab) writeOffice(i int) (path string, err error) {
	cfg := l.written(i)
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(cfg.Users.Source, l.seed(i), 0o600); err != nil {
		return "", err
	}
	text, err := config.Format(&cfg)
	if err != nil {
		return "", err
	}
	path = filepath.Join(cfg.State, "office.yaml")
	return path, os.WriteFile(path, text, 0o600)
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
	if l.redisConf {
		cfg.Routes.PasswordFile = l.redisFile("password")
	}
	if l.bridged {
		l.bridge(i, &cfg)
	}
	return cfg
}

// bridgedMedia is the media ports of an office whose ports are published one by one: five calls.
const bridgedMedia = 20

// bridgedAddr is the address of an office among the others, as compose.bridged.yaml gives it.
func bridgedAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{172, 31, 60, byte(11 + i)}) }

// bridge changes cfg to that of an office in a network of its own. Phones are told l.addr, where its ports are published;
// the other offices find it by the name of its certificate, and see it as it is.
func (l *lab) bridge(i int, cfg *office.Config) {
	cfg.Listen = []string{fmt.Sprintf("udp:0.0.0.0:%d", l.ports.sip[i]), fmt.Sprintf("tcp:0.0.0.0:%d", l.ports.sip[i])}
	cfg.PartnerListen = fmt.Sprintf("tls:0.0.0.0:%d", l.ports.partner[i])
	cfg.URI = fmt.Sprintf("sip:%s:%d;transport=tls", certificateName(labOffices[i]), l.ports.partner[i])
	cfg.Media.Ports = fmt.Sprintf("%d-%d", l.ports.media[i], l.ports.media[i]+bridgedMedia-1)
	cfg.HTTP.Listen = fmt.Sprintf("0.0.0.0:%d", l.ports.http+i)
	cfg.Advertise = netip.MustParseAddr(l.addr)
	cfg.LocalNetworks = nil
	for j := range labOffices {
		cfg.LocalNetworks = append(cfg.LocalNetworks, netip.PrefixFrom(bridgedAddr(j), 32))
	}
}

// redisFile is a file of the Redis that writeRedis makes.
func (l *lab) redisFile(name string) string { return filepath.Join(l.state, "redis", name) }

// writeRedis makes the password, unless there is one, and the configuration of the Redis at l.redis. It listens
// at the address that the URL names; where that is a name, the network is the container's own and it listens at all.
func (l *lab) writeRedis() (path string, err error) {
	u, err := url.Parse(l.redis)
	if err != nil || u.Port() == "" {
		return "", misuse("--redis %s: want redis://host:port", withoutPassword(l.redis))
	}
	bind := u.Hostname()
	if net.ParseIP(bind) == nil {
		bind = "0.0.0.0"
	}
	if err := os.MkdirAll(l.redisFile("data"), 0o700); err != nil {
		return "", err
	}
	b, err := os.ReadFile(l.redisFile("password"))
	password := strings.TrimSpace(string(b))
	if password == "" && (err == nil || errors.Is(err, os.ErrNotExist)) {
		password = generate()
		err = os.WriteFile(l.redisFile("password"), []byte(password+"\n"), 0o600)
	}
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("bind %s\nport %s\nrequirepass %s\ndir %s\nappendonly yes\n", bind, u.Port(), password, l.redisFile("data"))
	path = l.redisFile("redis.conf")
	return path, os.WriteFile(path, []byte(text), 0o600)
}
