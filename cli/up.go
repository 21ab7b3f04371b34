package cli

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/siproam/siproam/office"
)

type up struct {
	Lan       bool   `xor:"where" help:"Serve phones on the LAN, at this machine's first address, with random passwords."`
	Addr      string `xor:"where" placeholder:"IP" help:"Serve phones at this address of the machine, with random passwords."`
	PortBase  int    `default:"5060" placeholder:"N" help:"Other ports: SIP N, N+100, N+200 (partners +7), pages N+300, routing store N+400, media N+500 to N+1099."`
	HTTP      string `name:"http" placeholder:"ADDR" help:"Where the pages are; default: 127.0.0.1:8080."`
	Store     string `placeholder:"ADDR" help:"Where the embedded routing store listens; default: 127.0.0.1:6390."`
	Redis     string `placeholder:"URL" help:"Use this Redis instead of the embedded routing store."`
	State     string `type:"path" placeholder:"DIR" help:"Where to keep accounts, records and certificates; default: ~/.local/state/siproam/up."`
	Fresh     bool   `help:"Forget what an earlier up kept."`
	Write     string `type:"path" placeholder:"DIR" help:"Write three office.yaml with certificates and accounts into DIR, for serve, and start nothing."`
	RedisConf bool   `help:"With --write and --redis: make a password and a redis.conf for that Redis, too."`
	Bridged   bool   `help:"With --write: for containers with networks of their own, whose published ports phones reach at --addr."`
	LogLevel  string `default:"warn" enum:"debug,info,warn,error" help:"What is logged on stderr."`
	LogJSON   bool   `name:"log-json" help:"Log one JSON object a line."`
}

// Run is kong's. It ends with Ctrl-C.
func (c *up) Run(e *env) error {
	began := time.Now()
	l, err := c.lab()
	if err != nil {
		return err
	}
	format := "auto"
	if c.LogJSON {
		format = "json"
	}
	if l.log, err = newLog(e.stderr, office.Log{Level: c.LogLevel, Format: format}); err != nil {
		return misuse("%v", err)
	}
	if c.Write != "" {
		return l.write(e)
	}
	if client, err := office.Dial(l.state); err == nil && client.Running() {
		return fmt.Errorf("%s: an up is running already; for another one say --state DIR --port-base N", tilde(l.state))
	}
	if c.Fresh {
		if err := forget(l.state); err != nil {
			return err
		}
	}
	if err := l.makeAccounts(); err != nil {
		return err
	}
	return l.run(e.ctx, func(*office.House) { l.banner(e.stdout, c, time.Since(began)) })
}

// lab is what the flags ask for.
func (c *up) lab() (*lab, error) {
	l := newLab(cmp.Or(c.Write, c.State), loopback, c.PortBase)
	l.redis, l.http, l.store = c.Redis, cmp.Or(c.HTTP, l.http), cmp.Or(c.Store, l.store)
	if c.PortBase < 1024 || c.PortBase > portsMax {
		return nil, misuse("--port-base %d: want 1024 to %d", c.PortBase, portsMax)
	}
	if l.state == "" {
		if l.state = upState(); l.state == "" {
			return nil, misuse("no home directory to keep the state in; say --state DIR")
		}
	}
	if c.RedisConf && (c.Write == "" || c.Redis == "") {
		return nil, misuse("--redis-conf: needs --write and --redis")
	}
	if c.Bridged && c.Write == "" {
		return nil, misuse("--bridged: needs --write")
	}
	l.redisConf, l.bridged = c.RedisConf, c.Bridged
	switch {
	case c.Lan:
		addr, err := lanAddr()
		if err != nil {
			return nil, err
		}
		l.addr = addr
	case c.Addr != "":
		if ip, err := netip.ParseAddr(c.Addr); err != nil || ip.IsUnspecified() {
			return nil, misuse("--addr %q: want an address of this machine", c.Addr)
		}
		l.addr = c.Addr
	}
	return l, nil
}

// forget empties the state directory of an up, and refuses to touch any other.
func forget(state string) error {
	list, err := os.ReadDir(state)
	if os.IsNotExist(err) || err == nil && len(list) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(state, accountsFile)); err != nil {
		return misuse("--fresh: %s is not the state of an up (no %s in it)", state, accountsFile)
	}
	for _, name := range append(labOffices[:], "tls", "routes.snapshot", accountsFile, "control.sock", "control.addr") {
		if err := os.RemoveAll(filepath.Join(state, name)); err != nil {
			return err
		}
	}
	return nil
}

// banner is what a newcomer needs, and nothing else.
func (l *lab) banner(out io.Writer, c *up, took time.Duration) {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	store := "routing store included"
	if l.redis != "" {
		store = "routing store " + withoutPassword(l.redis)
	}
	say("siproam %s   three offices on this machine, %s        ready in %.1f s", Version, store, took.Seconds())
	say("state %s      start over: %s --fresh      phones on the LAN: %s --lan\n", tilde(l.state), self()+" up", self()+" up")
	say("  office   SIP udp+tcp     %s media         people", strings.Repeat(" ", max(len(l.proxy(0))-15, 0)))
	for i, o := range labOffices {
		var names []string
		for _, n := range numbersOf(i) {
			if p := labPeople[n]; p != "" {
				names = append(names, p+"="+n)
			}
		}
		n := numbersOf(i)
		say("  %-8s %-16s %d-%d   %s-%s  %s", o, l.proxy(i), l.ports.media[i], l.ports.media[i]+l.ports.mediaSize-1, n[0], n[len(n)-1], strings.Join(names, " "))
	}
	password := l.accounts.passwords["1001"]
	say("\nBe alice of north, sitting in south:")
	say("  user and login 1001   password %s   domain north.example   outbound proxy %s", password, l.proxy(1))
	say("  baresip  <sip:1001@north.example>;auth_user=1001;auth_pass=%s;outbound=\"sip:%s\"", password, l.proxy(1))
	say("Then dial")
	say("  2009  hear yourself (echo in south)      1008  hang up; north calls you back where you are")
	say("  1002  bob      +15550003001  dave in west, by full number")
	say("Move: change the proxy to %s (west), dial 1008 again.", l.proxy(2))
	say("No softphone?  %s demo\n", self())
	at := ""
	if c.State != "" {
		at = " --state " + c.State
	}
	say("look   %s where 1001%s · %s calls%s · %s trace 1001%s · http://%s", self(), at, self(), at, self(), at, l.http)
	if l.redis == "" {
		say("store  redis-cli -p %s hgetall 'roam:loc:{1001@north.example}'", portOf(l.store))
	}
	say("all accounts: %s            Ctrl-C stops", tilde(filepath.Join(l.state, accountsFile)))
}

// self is how this program was called, for lines to copy: "go run ." or its path.
func self() string {
	if strings.Contains(filepath.ToSlash(os.Args[0]), "/go-build") {
		return "go run ."
	}
	return os.Args[0]
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// tilde is path as people write it.
func tilde(path string) string {
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		if rest, found := strings.CutPrefix(path, home+string(filepath.Separator)); found {
			return filepath.Join("~", rest)
		}
	}
	return path
}

// withoutPassword is the address in a Redis URL.
func withoutPassword(redis string) string {
	_, rest, _ := strings.Cut(redis, "://")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	return rest
}

// freeBase finds a base at which all ports of a lab are free: it asks the kernel for one and tries there.
func freeBase() (int, error) {
	for range 50 {
		c, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return 0, err
		}
		base := c.Addr().(*net.TCPAddr).Port
		c.Close()
		if base <= portsMax && portsAt(base).free() {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no free range of ports on this machine")
}

// free says that nothing listens on the lab's ports. Of media the ends are tried: a port in use there costs one call.
func (p ports) free() bool {
	for i := range labOffices {
		for _, n := range []int{p.sip[i], p.partner[i]} {
			if !freeTCP(n) {
				return false
			}
		}
		for _, n := range []int{p.sip[i], p.media[i], p.media[i] + p.mediaSize - 1} {
			if !freeUDP(n) {
				return false
			}
		}
	}
	return freeTCP(p.http) && freeTCP(p.store)
}

func freeTCP(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", loopback, port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func freeUDP(port int) bool {
	c, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", loopback, port))
	if err != nil {
		return false
	}
	c.Close()
	return true
}
