//go:build endpoints

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// account is one line of a baresip's accounts file.
type account struct {
	aor, login, password, proxy string
	answer                      string // answermode; "": auto
	extra                       string // more account parameters
}

// baresip is one running softphone, driven over its ctrl_tcp interface.
type baresip struct {
	t        *testing.T
	dir      string
	ctrl     int
	netns    string // "": the lab itself
	accounts []account
	tone     float64
	iface    string   // net_interface; "": no line, as a stock installation has it
	listen   string   // sip_listen; "": no line
	six      bool     // IPv6 alone
	more     []string // further lines of the configuration

	mu  sync.Mutex // guards cmd, log
	cmd *exec.Cmd
	log *lockedBuffer
}

var nextCtrl atomic.Int32

// demoAccount is the account of a demo user at an office's proxy.
func demoAccount(number, domain, proxy string) account {
	return account{aor: "sip:" + number + "@" + domain, login: number, password: "demo-" + number, proxy: proxy}
}

// newBaresip makes a phone that plays hz; start starts it.
func newBaresip(t *testing.T, hz float64, accounts ...account) *baresip {
	t.Helper()
	b := &baresip{t: t, dir: t.TempDir(), ctrl: 14000 + int(nextCtrl.Add(1)), accounts: accounts, tone: hz, iface: "127.0.0.1", listen: "127.0.0.1:0"}
	if err := writeTone(filepath.Join(b.dir, "tone.wav"), hz, time.Minute); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.kill)
	return b
}

// config is baresip's configuration: no sound card, a tone as the microphone, what is heard into a file.
func (b *baresip) config() string {
	var c strings.Builder
	put := func(k, v string) { fmt.Fprintf(&c, "%-24s%s\n", k, v) }
	put("poll_method", "epoll")
	if b.listen != "" {
		put("sip_listen", b.listen)
	}
	if b.iface != "" {
		put("net_interface", b.iface)
	}
	put("call_local_timeout", "60")
	put("call_max_calls", "8")
	put("audio_path", b.dir)
	id := strconv.Itoa(b.ctrl)
	put("audio_player", "aubridge,sink"+id)
	put("audio_source", "aufile,"+b.dir+"/tone.wav")
	put("audio_alert", "aubridge,alert"+id)
	for _, k := range []string{"ausrc_srate", "auplay_srate"} {
		put(k, "8000")
	}
	for _, k := range []string{"ausrc_channels", "auplay_channels"} {
		put(k, "1")
	}
	put("rtp_stats", "yes")
	put("jitter_buffer_delay", "1-5")
	put("module_path", "/usr/lib/baresip/modules")
	for _, m := range []string{"g711", "aufile", "aubridge", "sndfile"} {
		put("module", m+".so")
	}
	for _, m := range []string{"uuid", "account"} {
		put("module_tmp", m+".so")
	}
	for _, m := range []string{"contact", "menu", "debug_cmd", "ctrl_tcp"} {
		put("module_app", m+".so")
	}
	put("ctrl_tcp_listen", "127.0.0.1:"+id)
	put("snd_path", b.dir+"/rec")
	for _, line := range b.more {
		c.WriteString(line + "\n")
	}
	return c.String()
}

// start starts the phone anew; what it had recorded is gone.
func (b *baresip) start() *baresip {
	b.t.Helper()
	rec := filepath.Join(b.dir, "rec")
	os.RemoveAll(rec)
	os.MkdirAll(rec, 0o755)
	var lines strings.Builder
	for _, a := range b.accounts {
		if a.answer == "" {
			a.answer = "auto"
		}
		if a.proxy != "" { // else DNS says where the domain is
			a.extra += `;outbound="sip:` + a.proxy + `"`
		}
		fmt.Fprintf(&lines, "<%s>;auth_user=%s;auth_pass=%s;answermode=%s;regint=60;mwi=no%s\n", a.aor, a.login, a.password, a.answer, a.extra)
	}
	for name, text := range map[string]string{"config": b.config(), "accounts": lines.String(), "contacts": ""} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	family := "-4"
	if b.six {
		family = "-6"
	}
	args := []string{"stdbuf", "-oL", "-eL", "baresip", family, "-v", "-s", "-f", b.dir}
	if b.netns != "" {
		args = append([]string{"ip", "netns", "exec", b.netns}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.cmd, b.log = cmd, log
	b.mu.Unlock()
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("baresip %s\n%s", b.accounts[0].aor, tail(log.String(), 6000))
		}
	})
	b.listening()
	return b
}

// kill ends the phone without a goodbye, as pulling its plug does.
func (b *baresip) kill() {
	b.mu.Lock()
	cmd := b.cmd
	b.cmd = nil
	b.mu.Unlock()
	if cmd != nil {
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
	}
}

// connect connects to the phone's control port, inside its namespace.
func (b *baresip) connect() (c net.Conn, err error) {
	within(b.netns, func() error {
		c, err = net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", b.ctrl), time.Second)
		return err
	})
	return c, err
}

// netstring reads one frame of ctrl_tcp.
func netstring(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil {
		return nil, err
	}
	body := make([]byte, n+1)
	for have := 0; have < len(body); {
		k, err := r.Read(body[have:])
		if err != nil {
			return nil, err
		}
		have += k
	}
	return body[:n], nil
}

// command gives one command and its answer's text.
func (b *baresip) command(cmd, params string) (string, error) {
	c, err := b.connect()
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	m, _ := json.Marshal(map[string]string{"command": cmd, "params": params, "token": "t"})
	fmt.Fprintf(c, "%d:%s,", len(m), m)
	r := bufio.NewReader(c)
	for {
		f, err := netstring(r)
		if err != nil {
			return "", err
		}
		var a struct {
			Response bool   `json:"response"`
			OK       bool   `json:"ok"`
			Data     string `json:"data"`
		}
		if json.Unmarshal(f, &a) == nil && a.Response {
			if !a.OK {
				return a.Data, fmt.Errorf("baresip %s %s: %s", cmd, params, a.Data)
			}
			return a.Data, nil
		}
	}
}

func (b *baresip) must(cmd, params string) string {
	b.t.Helper()
	out, err := b.command(cmd, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// listening waits for the control port.
func (b *baresip) listening() {
	b.t.Helper()
	eventually(b.t, 10*time.Second, "baresip's control port", func() error {
		c, err := b.connect()
		if err == nil {
			c.Close()
		}
		return err
	})
}

// registered waits until every account of the phone has been told 200.
func (b *baresip) registered() *baresip {
	b.t.Helper()
	eventually(b.t, 15*time.Second, b.accounts[0].aor+" registered", func() error {
		out, err := b.command("reginfo", "")
		if err != nil {
			return err
		}
		if n := strings.Count(out, "OK"); n < len(b.accounts) {
			return fmt.Errorf("%d of %d accounts: %s", n, len(b.accounts), out)
		}
		return nil
	})
	return b
}

// inCall is nil when the phone talks.
func (b *baresip) inCall() error {
	out, err := b.command("listcalls", "")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "ESTABLISHED") {
		return fmt.Errorf("not in a call: %s", strings.TrimSpace(out))
	}
	return nil
}

// idle waits until the phone has no call.
func (b *baresip) idle() {
	b.t.Helper()
	eventually(b.t, 10*time.Second, b.accounts[0].aor+" idle", func() error {
		out, err := b.command("listcalls", "")
		if err == nil && strings.Contains(out, "sip:") {
			err = fmt.Errorf("still in a call: %s", out)
		}
		return err
	})
}

// forget drops what was recorded.
func (b *baresip) forget() {
	old, _ := filepath.Glob(filepath.Join(b.dir, "rec", "*"))
	for _, f := range old {
		os.Remove(f)
	}
}

// heard is how long the phone heard hz in its recordings.
func (b *baresip) heard(hz float64) time.Duration {
	b.t.Helper()
	files, _ := filepath.Glob(filepath.Join(b.dir, "rec", "*-dec.wav"))
	var d time.Duration
	for _, f := range files {
		one, err := toneIn(f, hz)
		if err == nil {
			d += one
		}
	}
	return d
}

// talk has a call uri, waits until both talk, and asserts that each hears the other's tone. It ends the call from
// a, unless fromB.
func talk(t *testing.T, what string, a, b *baresip, uri string, fromB bool) {
	t.Helper()
	a.forget()
	b.forget()
	began := time.Now()
	a.must("dial", uri)
	eventually(t, 8*time.Second, what+": answered", func() error {
		if err := a.inCall(); err != nil {
			return err
		}
		return b.inCall()
	})
	setup := time.Since(began)
	time.Sleep(2500 * time.Millisecond) // people talking
	who := a
	if fromB {
		who = b
	}
	who.must("hangup", "")
	a.idle()
	b.idle()
	if got := b.heard(a.tone); got < time.Second {
		t.Errorf("%s: %s heard %v of %v Hz, want 1s", what, b.accounts[0].aor, got, a.tone)
	}
	if got := a.heard(b.tone); got < time.Second {
		t.Errorf("%s: %s heard %v of %v Hz, want 1s", what, a.accounts[0].aor, got, b.tone)
	}
	t.Logf("%-34s answered after %v, tones heard both ways", what, setup.Round(time.Millisecond))
}
