//go:build endpoints

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
)

// world is three offices and a redis-server, each a process in a host of a site.
type world struct {
	site
	binary string
	dir    string // of this world: a state directory for each office, redis
	names  sync.Mutex
	run    map[string]*proc // by office, and "redis"
}

// proc is a process of a world.
type proc struct {
	cmd   *exec.Cmd
	out   *lockedBuffer
	ended chan struct{}
}

// blueprint is the files that every world has: certificates, accounts, and configurations in which DIR stands for the
// world's directory.
type blueprint struct {
	dir   string
	yaml  map[string]string
	users map[string][]byte
}

// draw makes a blueprint; registrations are short, so that phones come back within seconds.
func draw(t *testing.T) *blueprint {
	t.Helper()
	hosts := ""
	b := &blueprint{dir: filepath.Join(t.TempDir(), "plan"), yaml: map[string]string{}, users: map[string][]byte{}}
	if out, errs, code := run(t, "", "up", "--write", b.dir, "--redis", "redis://127.0.0.1:6379/0"); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	for o, i := range labOrder {
		hosts += fmt.Sprintf("%s sip.%s.example\n", lan(o, officeHost), o)
		text, err := os.ReadFile(filepath.Join(b.dir, o, "office.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if b.users[o], err = os.ReadFile(filepath.Join(b.dir, o, "users.csv")); err != nil {
			t.Fatal(err)
		}
		here := lan(o, officeHost)
		b.yaml[o] = strings.NewReplacer(
			fmt.Sprintf("udp:127.0.0.1:%d", 5060+100*i), "udp:"+here+":5060", fmt.Sprintf("tcp:127.0.0.1:%d", 5060+100*i), "tcp:"+here+":5060",
			fmt.Sprintf("tls:127.0.0.1:%d", 5067+100*i), "tls:"+here+":5067",
			fmt.Sprintf("sip:127.0.0.1:%d", 5067+100*i), "sip:sip."+o+".example:5067",
			"redis://127.0.0.1:6379/0", "redis://"+redisAt+"/0", "insecure: false", "insecure: true", "idle: 1m", "idle: 20s",
			"expires: 5m", "expires: 30s", "min: 1m", "min: 20s", fmt.Sprintf("127.0.0.1:%d", 8080+i), "127.0.0.1:8080",
			filepath.Join(b.dir, o), "DIR/"+o,
		).Replace(string(text))
	}
	knownHosts(t, hosts)
	return b
}

// open makes a world of a blueprint on a site and starts it.
func (b *blueprint) open(s site, binary string) (w *world, err error) {
	w = &world{site: s, binary: binary, run: map[string]*proc{}}
	if w.dir, err = os.MkdirTemp("", "table"); err != nil {
		return nil, err
	}
	if err = os.Mkdir(w.redisDir(), 0o700); err == nil {
		err = w.start("redis")
	}
	for o := range labOrder {
		if err == nil {
			err = os.MkdirAll(w.state(o), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(w.state(o), "users.csv"), b.users[o], 0o600)
		}
		if err == nil {
			err = os.WriteFile(w.file(o), []byte(strings.ReplaceAll(b.yaml[o], "DIR", w.dir)), 0o600)
		}
		if err == nil {
			err = w.start(o)
		}
	}
	for o := range labOrder {
		if err == nil {
			err = w.ready(o)
		}
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) state(office string) string { return filepath.Join(w.dir, office) }
func (w *world) file(office string) string  { return filepath.Join(w.state(office), "office.yaml") }
func (w *world) redisDir() string           { return filepath.Join(w.dir, "redis") }

// proxy is where phones find an office.
func proxy(office string) string { return lan(office, officeHost) + ":5060" }

// start starts an office or redis, again after its end; it does not wait.
func (w *world) start(host string) error {
	args := []string{w.binary, "serve", "-c", w.file(host)}
	if host == "redis" {
		at, port, _ := net.SplitHostPort(redisAt)
		args = []string{"redis-server", "--port", port, "--bind", at, "127.0.0.1", "--protected-mode", "no", "--dir", w.redisDir(), "--save", "", "--appendonly", "yes"}
	}
	p := &proc{cmd: exec.Command(args[0], args[1:]...), out: &lockedBuffer{}, ended: make(chan struct{})}
	if old := w.proc(host); old != nil {
		p.out = old.out
	}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := within(w.ns(host), p.cmd.Start); err != nil {
		return err
	}
	go func() { p.cmd.Wait(); close(p.ended) }()
	w.names.Lock()
	defer w.names.Unlock()
	w.run[host] = p
	return nil
}

func (w *world) proc(host string) *proc {
	w.names.Lock()
	defer w.names.Unlock()
	return w.run[host]
}

// signal sends a signal to an office's process, or to redis.
func (w *world) signal(host string, s syscall.Signal) error {
	return w.proc(host).cmd.Process.Signal(s)
}

// kill is kill -9.
func (w *world) kill(host string) error {
	p := w.proc(host)
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

// close ends everything.
func (w *world) close() {
	w.mend()
	for host := range w.run {
		w.signal(host, syscall.SIGCONT)
		w.kill(host)
	}
	os.RemoveAll(w.dir)
}

// ready waits until a process serves.
func (w *world) ready(host string) error {
	return until(20*time.Second, host+" ready", func() error {
		select {
		case <-w.proc(host).ended:
			return errors.New("it has ended")
		default:
		}
		if host == "redis" {
			answer, err := w.redis("PING")
			if err == nil && answer != "PONG" {
				err = errors.New(answer)
			}
			return err
		}
		return w.client(host, func(ctx context.Context, c *office.Client) error { return c.Ask(ctx, "GET", "/health", nil, nil, nil) })
	})
}

// client asks an office over its control socket.
func (w *world) client(host string, ask func(context.Context, *office.Client) error) error {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	c, err := office.Dial(w.state(host))
	if err != nil {
		return err
	}
	return ask(ctx, c)
}

// ask reads one answer of an office into v.
func (w *world) ask(host, path string, q url.Values, v any) error {
	return w.client(host, func(ctx context.Context, c *office.Client) error { return c.Ask(ctx, "GET", path, q, nil, v) })
}

// redis is the answer to one command: a word, a number, or the words of a list, one a line.
func (w *world) redis(command string) (answer string, err error) {
	var c net.Conn
	err = within(w.ns("redis"), func() (err error) {
		c, err = net.DialTimeout("tcp", "127.0.0.1:6379", time.Second)
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		return "", err
	}
	return reply(bufio.NewReader(c))
}

// reply reads one value of RESP2.
func reply(r *bufio.Reader) (string, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	head = strings.TrimSpace(head)
	n, _ := strconv.Atoi(head[1:])
	switch head[0] {
	case '$':
		if n < 0 {
			return "", nil
		}
		b := make([]byte, n+2)
		_, err := io.ReadFull(r, b)
		return string(b[:n]), err
	case '*':
		var all []string
		for range n {
			one, err := reply(r)
			if err != nil {
				return "", err
			}
			all = append(all, one)
		}
		return strings.Join(all, "\n"), nil
	case '-':
		return "", errors.New(head[1:])
	}
	return head[1:], nil
}

// metrics is what an office counts: name with labels, but for the office's, to value.
func (w *world) metrics(host string) (map[string]float64, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = within(w.ns(host), func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}}}
	r, err := client.Get("http://127.0.0.1:8080/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "} "); found && line[0] != '#' {
			name = strings.NewReplacer(`,office="`+host+`"`, "", `office="`+host+`",`, "", `{office="`+host+`"`, "").Replace(name)
			if f, err := strconv.ParseFloat(value, 64); err == nil {
				all[name] = f
			}
		}
	}
	return all, nil
}

// until repeats check until it gives nil; after limit its last error comes back.
func until(limit time.Duration, what string, check func() error) error {
	end := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
