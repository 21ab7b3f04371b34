package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is the program under test, built once per test run.
var program struct {
	once sync.Once
	path string
	err  error
}

// build gives the path of the program under test; SIPROAM_BINARY names one that is built already.
func build(t *testing.T) string {
	t.Helper()
	program.once.Do(func() {
		if p := os.Getenv("SIPROAM_BINARY"); p != "" {
			program.path = p
			return
		}
		dir, err := os.MkdirTemp("", "siproam-e2e-")
		if err != nil {
			program.err = err
			return
		}
		program.path = filepath.Join(dir, "siproam")
		out, err := exec.Command("go", "build", "-o", program.path, "..").CombinedOutput()
		if err != nil {
			program.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return program.path
}

// TestMain removes what build made.
func TestMain(m *testing.M) {
	code := m.Run()
	if program.path != "" && os.Getenv("SIPROAM_BINARY") == "" {
		os.RemoveAll(filepath.Dir(program.path))
	}
	os.Exit(code)
}

// process is one running siproam.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   *lockedBuffer
	ended chan struct{} // closed when the process is gone
}

// lockedBuffer collects what a process prints.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs siproam with args; it is stopped (SIGTERM, then SIGKILL) at the end of the test,
// and its output is shown when the test failed.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startAs(t, append([]string{build(t)}, args...))
}

// startAs is start with the whole command line.
func startAs(t *testing.T, args []string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(args[0], args[1:]...), out: &lockedBuffer{}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s\n%s", strings.Join(args, " "), tail(p.out.String(), 12000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

// stop asks the process to end and waits; after 5 s it is killed.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// kill ends the process at once, as kill -9 does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// ready waits until the process at the HTTP address says /readyz 200.
func (p *process) ready(httpAddr string) {
	p.t.Helper()
	eventually(p.t, 20*time.Second, "ready at "+httpAddr, func() error {
		select {
		case <-p.ended:
			p.t.Fatalf("ended before it was ready:\n%s", tail(p.out.String(), 4000))
		default:
		}
		r, err := http.Get("http://" + httpAddr + "/readyz")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		if r.StatusCode != 200 {
			return fmt.Errorf("%s: %s", r.Status, body)
		}
		return nil
	})
}

// run runs a command of siproam to its end and gives its output and exit code.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, build(t), args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		if _, exited := err.(*exec.ExitError); !exited {
			t.Fatal(err)
		}
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// ask runs a command with -o json and reads its answer into v.
func ask(t *testing.T, v any, args ...string) {
	t.Helper()
	out, errs, code := run(t, "", append(args, "-o", "json")...)
	if code != 0 {
		t.Fatalf("siproam %s: exit %d: %s%s", strings.Join(args, " "), code, out, errs)
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("siproam %s: %v in %s", strings.Join(args, " "), err, out)
	}
}

// eventually repeats check until it gives nil; after limit the test fails with its last error.
func eventually(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// freeBase gives a port base at which up finds all its ports free, below those that the kernel
// gives to whoever asks for any port.
func freeBase(t *testing.T) int {
	t.Helper()
	for range 50 {
		if base := 11000 + rand.IntN(18000); freeAt(base) {
			return base
		}
	}
	t.Fatal("no free range of ports")
	return 0
}

// freeAt says that the ports that up uses at base are free.
func freeAt(base int) bool {
	for _, off := range []int{0, 7, 100, 107, 200, 207, 300, 301, 302, 400} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+off))
		if err != nil {
			return false
		}
		l.Close()
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", base+off))
		if err != nil {
			return false
		}
		u.Close()
	}
	return true
}
