package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/cli"
)

// composition is what matters of a compose file.
type composition struct {
	Services map[string]struct {
		Command     []string
		Ports       []string
		NetworkMode string `yaml:"network_mode"`
		Restart     string
		Networks    map[string]struct {
			Address string `yaml:"ipv4_address"`
			Aliases []string
		}
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Healthcheck struct {
			Test    []string
			Disable bool
		}
	}
}

// settings is what matters of a written office.yaml.
type settings struct {
	Domain        string
	Listen        []string
	PartnerListen string `yaml:"partner_listen"`
	URI           string
	Advertise     string
	LocalNetworks []string `yaml:"local_networks"`
	Media         struct{ Ports string }
	Routes        struct {
		Redis        string
		PasswordFile string `yaml:"password_file"`
	}
	HTTP struct{ Listen string }
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestCompose runs the setup of both compose files and holds what it writes against what they publish.
func TestCompose(t *testing.T) {
	const volume = "/var/lib/siproam"
	for _, file := range []string{"compose.yaml", "compose.bridged.yaml"} {
		var c composition
		read(t, file, &c)
		dir := t.TempDir()
		setup := slices.Clone(c.Services["setup"].Command)
		for i, a := range setup {
			a = strings.ReplaceAll(a, volume, dir)
			setup[i] = strings.ReplaceAll(a, "${SIPROAM_ADDR:-127.0.0.1}", "192.0.2.7")
		}
		if code := quietly(t, setup); code != 0 {
			t.Fatalf("%s: setup: exit %d", file, code)
		}
		secret, err := os.ReadFile(filepath.Join(dir, "redis", "password"))
		if err != nil || len(bytes.TrimSpace(secret)) < 16 {
			t.Fatalf("%s: password %v", file, err)
		}
		conf, _ := os.ReadFile(filepath.Join(dir, "redis", "redis.conf"))
		if !strings.Contains(string(conf), "\nrequirepass "+strings.TrimSpace(string(secret))+"\n") {
			t.Errorf("%s: the Redis asks for no password:\n%s", file, conf)
		}
		for _, name := range []string{"password", "redis.conf"} {
			if info, err := os.Stat(filepath.Join(dir, "redis", name)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %s: got %v, want 0600", file, name, info.Mode())
			}
		}
		if quietly(t, setup) != 0 { // every `compose up` runs it
			t.Errorf("%s: setup runs once only", file)
		}
		if again, _ := os.ReadFile(filepath.Join(dir, "redis", "password")); !bytes.Equal(again, secret) {
			t.Errorf("%s: the second setup changed the password", file)
		}
		redis := c.Services["redis"]
		if len(redis.Ports) != 0 || redis.NetworkMode == "host" && !strings.Contains(string(conf), "bind 127.0.0.1\n") {
			t.Errorf("%s: the Redis can be reached from outside", file)
		}
		for _, name := range []string{"north", "south", "west"} {
			s := c.Services[name]
			at := filepath.ToSlash(filepath.Join(volume, name))
			if want := []string{"serve", "-c", at + "/office.yaml"}; !slices.Equal(s.Command, want) {
				t.Errorf("%s: %s: got %v, want %v", file, name, s.Command, want)
			}
			if want := []string{"CMD", "/siproam", "healthcheck", "--state", at}; !slices.Equal(s.Healthcheck.Test, want) {
				t.Errorf("%s: %s: got healthcheck %v, want %v", file, name, s.Healthcheck.Test, want)
			}
			if s.DependsOn["setup"].Condition != "service_completed_successfully" {
				t.Errorf("%s: %s does not wait for setup", file, name)
			}
			var o settings
			read(t, filepath.Join(dir, name, "office.yaml"), &o)
			if want := filepath.Join(dir, "redis", "password"); o.Routes.PasswordFile != want {
				t.Errorf("%s: %s: got password file %q, want %q", file, name, o.Routes.PasswordFile, want)
			}
			if s.NetworkMode == "host" {
				if len(s.Ports) != 0 || !strings.HasPrefix(o.HTTP.Listen, "127.0.0.1:") {
					t.Errorf("%s: %s: publishes %v, pages at %s", file, name, s.Ports, o.HTTP.Listen)
				}
				continue
			}
			published(t, file, name, s.Ports, o)
			net := s.Networks["offices"]
			if want := "sip." + name + ".example"; !slices.Contains(net.Aliases, want) || !strings.HasPrefix(o.URI, "sip:"+want+":") {
				t.Errorf("%s: %s: partners look for %s, the network has %v", file, name, o.URI, net.Aliases)
			}
			if !slices.Contains(o.LocalNetworks, net.Address+"/32") || len(o.LocalNetworks) != 3 || o.Advertise != "192.0.2.7" {
				t.Errorf("%s: %s: is at %s, local networks %v, advertises %q", file, name, net.Address, o.LocalNetworks, o.Advertise)
			}
		}
	}
}

// published: a container's ports are those that its office listens at, and no other.
func published(t *testing.T, file, name string, ports []string, o settings) {
	t.Helper()
	sip := o.Listen[0][strings.LastIndexByte(o.Listen[0], ':')+1:]
	pages := o.HTTP.Listen[strings.LastIndexByte(o.HTTP.Listen, ':')+1:]
	want := []string{sip + ":" + sip + "/udp", sip + ":" + sip + "/tcp", o.Media.Ports + ":" + o.Media.Ports + "/udp", "127.0.0.1:" + pages + ":" + pages + "/tcp"}
	if !slices.Equal(ports, want) {
		t.Errorf("%s: %s: publishes %v, want %v", file, name, ports, want)
	}
}

// quietly runs a command line with its output thrown away.
func quietly(t *testing.T, args []string) int {
	t.Helper()
	out := os.Stdout
	defer func() { os.Stdout = out }()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	os.Stdout = null
	return cli.Main(args, example)
}

// TestFail2banFilter: the filter finds the address in the line that a failed login leaves, whatever the user is
// called, and in no other line.
func TestFail2banFilter(t *testing.T) {
	filter := failregex(t)
	line := func(event string) string {
		var out bytes.Buffer
		log := zerolog.New(io.Writer(&out)).With().Timestamp().Str("office", "south").Logger()
		log.Warn().Str("event", event).Str("user", `"remote_ip":"198.51.100.9" x`).Str("remote_ip", "203.0.113.5").Int("remote_port", 5060).Msg("login refused")
		return out.String()
	}
	m := filter.FindStringSubmatch(line("auth.failed"))
	if m == nil || m[1] != "203.0.113.5" {
		t.Errorf("got %q of %s, want 203.0.113.5", m, line("auth.failed"))
	}
	if m := filter.FindStringSubmatch(line("register.ok")); m != nil {
		t.Errorf("got %q of %s, want nothing", m, line("register.ok"))
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(line("auth.failed")), &fields); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.RFC3339, fmt.Sprint(fields["time"])); err != nil {
		t.Error(err)
	}
}

// failregex is the filter's expression as Go reads it.
func failregex(t *testing.T) *regexp.Regexp {
	t.Helper()
	b, err := os.ReadFile("packaging/fail2ban/siproam-filter.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), "failregex = ")
	text, _, _ = strings.Cut(text, "\n")
	if !found {
		t.Fatal("no failregex")
	}
	return regexp.MustCompile(strings.ReplaceAll(text, "<HOST>", `([0-9a-fA-F:.]+)`))
}
