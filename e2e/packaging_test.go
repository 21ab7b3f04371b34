//go:build endpoints

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFail2ban: a failed login at south leaves a line there from which the filter reads the phone's address; home, which
// refused it, names the partner, so that nobody can have the office banned.
func TestFail2ban(t *testing.T) {
	conf, err := os.ReadFile("../packaging/fail2ban/siproam-filter.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(conf), "failregex = ")
	text, _, _ = strings.Cut(text, "\n")
	filter := regexp.MustCompile(strings.ReplaceAll(text, "<HOST>", `([0-9a-fA-F:.]+)`))
	up := start(t, "up", "--log-json", "--state", filepath.Join(t.TempDir(), "up"))
	up.ready(upHTTP)
	bad := demoAccount("1001", "north.example", southProxy)
	bad.password = "guess"
	newBaresip(t, 440, bad).start()
	eventually(t, 10*time.Second, "a failed login in both logs", func() error {
		found := map[string]string{}
		for line := range strings.Lines(up.out.String()) {
			if !strings.Contains(line, "auth.failed") {
				continue
			}
			office, _, _ := strings.Cut(line[strings.Index(line, `"office":"`)+len(`"office":"`):], `"`)
			found[office] = ""
			if m := filter.FindStringSubmatch(line); m != nil {
				found[office] = m[1]
			}
		}
		if addr, logged := found["north"]; !logged || addr != "" || found["south"] != "127.0.0.1" {
			return fmt.Errorf("got %v, want 127.0.0.1 at south and nobody at north", found)
		}
		return nil
	})
}

// TestNothingElse runs an office as the container image does: the Dockerfile's own build line, its files and nothing
// else under the root, as its user where this machine has one to give.
func TestNothingElse(t *testing.T) {
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`CGO_ENABLED=0 go build .* -o /siproam \.`).FindString(string(dockerfile))
	root := t.TempDir()
	for dir := root; dir != "/"; dir = filepath.Dir(dir) { // another user passes through
		os.Chmod(dir, 0o755|fileMode(dir))
	}
	build := exec.Command("bash", "-c", strings.Replace(line, "-o /siproam", "-o "+root+"/siproam", 1))
	build.Dir = ".."
	build.Env = append(os.Environ(), "VERSION=docker")
	if out, err := build.CombinedOutput(); err != nil || line == "" {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	zones, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "lib/time/zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../office.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(root, "var/lib/siproam")
	for _, dir := range []string{state, filepath.Join(root, "etc/siproam")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string][]byte{"zoneinfo.zip": zones, "etc/siproam/office.yaml": example} {
		if err := os.WriteFile(filepath.Join(root, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inside := &syscall.SysProcAttr{Chroot: root}
	if ids, _ := os.ReadFile("/proc/self/uid_map"); len(strings.Fields(string(ids))) == 3 && strings.Fields(string(ids))[2] != "1" {
		inside.Credential = &syscall.Credential{Uid: 65532, Gid: 65532}
		if err := os.Chown(state, 65532, 65532); err != nil {
			t.Fatal(err)
		}
	}
	do := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/siproam", args...)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", []string{"ZONEINFO=/zoneinfo.zip"}, inside
		return cmd
	}
	serve := do("serve", "-c", "/etc/siproam/office.yaml")
	out := &lockedBuffer{}
	serve.Stdout, serve.Stderr = out, out
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { serve.Process.Kill() })
	eventually(t, 10*time.Second, "the healthcheck", func() error {
		if text, err := do("healthcheck").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s\n%s", err, text, out.String())
		}
		return nil
	})
	serve.Process.Signal(syscall.SIGTERM)
	if err := serve.Wait(); err != nil {
		t.Errorf("stopped with %v\n%s", err, out.String())
	}
}

func fileMode(path string) os.FileMode {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Mode()
}
