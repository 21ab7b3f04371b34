package provision

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// ours is the built in templates; they are read once.
var ours = sync.OnceValues(func() (*set, error) { return readTemplates("", nil) })

// settingsOf is what a phone gets that asks vendor's server for name.
func settingsOf(t *testing.T, vendor, name string, v *Values) (string, bool) {
	t.Helper()
	set, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	found, _, _ := set.find(name)
	for _, f := range found {
		if f.vendor == vendor {
			b, err := f.write(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(b), true
		}
	}
	return "", false
}

// files is a name of each built in template, as its vendor's phones ask for it.
var files = [][2]string{
	{"yealink", "y000000000066.cfg"}, {"yealink", "001565a1b2c3.cfg"},
	{"poly", "001565a1b2c3.cfg"}, {"poly", "siproam-001565a1b2c3.cfg"}, {"poly", "001565a1b2c3-directory.xml"},
	{"snom", "snomD785-001565A1B2C3.htm"},
	{"cisco", "SEP001565A1B2C3.cnf.xml"}, {"cisco", "spa001565a1b2c3.xml"},
	{"grandstream", "cfg001565a1b2c3.xml"},
	{"fanvil", "001565a1b2c3.cfg"},
	{"baresip", "001565a1b2c3.accounts"}, {"baresip", "001565a1b2c3.config"},
}

// TestGolden: what each vendor's phones get: with an account, as a guest phone, and as one that keeps its own.
func TestGolden(t *testing.T) {
	set, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	if len(set.files) != len(files) {
		t.Errorf("%d templates, %d are tested", len(set.files), len(files))
	}
	for _, f := range files {
		for kind, v := range map[string]*Values{"account": sample(`Alice "Al" <O'Neil> & Søn`, nil, true), "guest": sample("x", nil, false), "server": sample("x", nil, false)} {
			v.Keys = []Key{{`Desk; "1" <x>`, "2000"}, {"Night=on", "*72"}}
			if kind == "server" {
				v.Guest, v.Label = false, ""
			}
			got, found := settingsOf(t, f[0], f[1], v)
			if !found {
				t.Errorf("%s: no template answers to %s", f[0], f[1])
			}
			golden(t, filepath.Join(f[0], kind+"-"+f[1]), got)
		}
	}
}

// hostile is names that would add a setting, end a value or an element, or run something.
var hostile = []string{
	"x\naccount.1.auto_answer = 1", "x\r\n\r\ninclude:config <http://evil.example/x>", `"/><P237>evil.example</P237>`, "]]></x><!--", "</displayName><proxy>evil.example</proxy>",
	`" reg.1.server.1.address="evil.example`, "&lol;", "<?xml?>", "x\x00y", "\u2028account.1.x = 1", "\xff\xfe", `"> <sip:evil@evil.example>;outbound="sip:evil.example`,
	"{{.Password}}", "{{/* */}}", "'; DROP", "\x1b[31m", "x;auth_pass=evil", "%00", "\u202ex",
}

// TestHostileNames: what people call themselves stays a value, in every vendor's format.
func TestHostileNames(t *testing.T) {
	for _, f := range files {
		tame, _ := settingsOf(t, f[0], f[1], sample("Alice", nil, true))
		for _, name := range hostile {
			v := sample(name, nil, true)
			wild, _ := settingsOf(t, f[0], f[1], v)
			if a, b := strings.Count(tame, "\n"), strings.Count(wild, "\n"); a != b {
				t.Errorf("%s %s: %q makes %d lines of %d", f[0], f[1], name, b, a)
			}
			if strings.HasPrefix(tame, "<?xml") {
				if a, b := shape(t, tame), shape(t, wild); a != b {
					t.Errorf("%s %s: %q makes\n%s\nof\n%s", f[0], f[1], name, b, a)
				}
			} else if a, b := keys(tame), keys(wild); a != b {
				t.Errorf("%s %s: %q makes\n%s\nof\n%s", f[0], f[1], name, b, a)
			}
			if strings.ContainsAny(wild, "\x00\x1b\r\u2028\u2029") {
				t.Errorf("%s %s: %q gets through: %q", f[0], f[1], name, wild)
			}
		}
	}
}

// shape is the elements and attributes of text, without what is in them.
func shape(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			fmt.Fprintf(&b, "<%s", e.Name.Local)
			for _, a := range e.Attr {
				b.WriteString(" " + a.Name.Local)
			}
		case xml.EndElement:
			b.WriteString(">")
		case xml.Comment, xml.Directive:
			fmt.Fprintf(&b, "%T", e)
		}
	}
}

// keys is what stands before the first sign of a value on each line, and the parameters of an address.
func keys(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(line, " = ")
		if strings.HasPrefix(line, `"`) {
			_, rest, _ := strings.Cut(line, "<")
			key = fmt.Sprint("address", strings.Count(line, "<"), strings.Count(line, ">"), strings.Count(line, `"`), strings.Count(rest, ";"), strings.Contains(line, "x;auth"))
		}
		b.WriteString(key + "\n")
	}
	return b.String()
}

// TestFolder: the operator's templates add to ours and take their place; what is wrong is said with its file and line, all at once.
func TestFolder(t *testing.T) {
	put := func(dir, name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	put(dir, "yealink/MAC.cfg", "{{/* lines; also x-MAC.cfg */}}\n#!version:1.0.0.1\nours = {{.Name}}{{with .Values.pickup}}\npickup = {{.}}{{end}}\n")
	put(dir, "acme/acmeMODEL-MAC.xml", "{{/* xml */}}\r\n{{define \"user\"}}<u>{{.Name}}</u>{{end}}<x>{{template \"user\" .}}{{$n := .Name}}{{range .NTP}}<n>{{$n | printf \"%s!\"}}</n>{{end}}</x>\n")
	put(dir, "README.md", "not a template")
	put(dir, ".git/config", "nor this")
	put(dir, "yealink/.MAC.cfg.swp", "nor this")
	set, err := readTemplates(dir, map[string]string{"pickup": "*8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"001565A1B2C3.cfg":         "#!version:1.0.0.1\nours = A <b>\npickup = *8\n",
		"X-001565a1b2c3.cfg":       "#!version:1.0.0.1\nours = A <b>\npickup = *8\n",
		"acmeZ9-001565a1b2c3.xml":  "<x><u>A &lt;b&gt;</u><n>A &lt;b&gt;!</n></x>\n",
		"acmeZ/9-001565a1b2c3.xml": "",
	} {
		found, _, _ := set.find(name)
		got := []byte{}
		for _, f := range found {
			if f.vendor == "yealink" || f.vendor == "acme" {
				if got, err = f.write(sample("A <b>", map[string]string{"pickup": "*8"}, true)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if string(got) != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}

	bad := t.TempDir()
	for name, text := range map[string]string{
		"a/no-format-MAC.cfg":  "x = {{.Name}}\n",
		"a/syntax-MAC.cfg":     "{{/* lines */}}\nx = 1\ny = {{if .Name}}\n",
		"a/field-MAC.cfg":      "{{/* lines */}}\nx = 1\n\ny = {{.Nonsense}}\n",
		"a/value-MAC.cfg":      "{{/* lines */}}\nx = {{.Values.nonsense}}\n",
		"a/notxml-MAC.xml":     "{{/* xml */}}\n<a>\n<b></a>\n",
		"a/function-MAC.cfg":   "{{/* lines */}}\nx = {{nonsense .Name}}\n",
		"a/MAC-twice-MAC.cfg":  "{{/* lines */}}\nx = 1\n",
		"a/other-MAC.cfg":      "{{/* lines; also other.cfg */}}\nx = 1\n",
		"a/long-MAC.cfg":       "{{/* lines */}}\n{{range $i, $e := .Emergency}}" + strings.Repeat("x", fileMax) + "{{end}}\n",
		"a/too much-MAC.cfg":   "{{/* lines */}}\n",
		"UPPER/MAC.cfg":        "{{/* lines */}}\n",
		"a/choose-MAC.cfg":     "{{/* lines */}}\nx = {{choose .Transport \"udp\" \"0\"}}\n",
		"a/unescaped-MAC.cfg":  "{{/* lines */}}\nx = {{escape_value .Name}}\n", // harmless: it is escaped twice
		"a/dividing-MAC.cfg":   "{{/* lines */}}\nx = {{index .NTP 7}}\n",
		"a/noguest-MAC.xml":    "{{/* xml */}}\n{{if .User}}<a/>{{else}}<b>{{end}}\n",
		"a/endless-MAC.cfg":    "{{/* lines */}}\n{{define \"x\"}}{{template \"x\" .}}{{end}}{{template \"x\" .}}\n",
		"a/toolong-MAC.cfg":    "{{/* lines */}}\n{{range 2000000}}x{{end}}\n",
		"a/bytwolines-MAC.cfg": "{{/* lines */}}\n{{if eq .Name \"Alice\"}}x\n{{end}}y\n",
	} {
		put(bad, name, text)
	}
	_, err = readTemplates(bad, nil)
	if err == nil {
		t.Fatal("got no error")
	}
	got := strings.ReplaceAll(err.Error(), bad, "FOLDER")
	golden(t, "mistakes.txt", got+"\n")
	if _, err := readTemplates(filepath.Join(bad, "nowhere"), nil); err == nil {
		t.Error("no folder: got no error")
	}
}

// TestReloadKeepsTemplates: after a reload that was refused the templates are those from before.
func TestReloadKeepsTemplates(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "yealink"), 0o755)
	file := filepath.Join(dir, "yealink", "MAC.cfg")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("{{/* lines */}}\nversion = 1\n")
	w := newWorld(t, func(c *Config) { c.Templates = dir })
	w.add(yealink, "2001")
	for _, c := range []struct{ text, want, err string }{
		{"{{/* lines */}}\nversion = 2\n", "version = 2\n", ""},
		{"{{/* lines */}}\nversion = {{.Nonsense}}\n", "version = 2\n", "yealink/MAC.cfg:2"},
		{"{{/* lines */}}\nversion = 3\n", "version = 3\n", ""},
	} {
		write(c.text)
		err := w.server.Reload(w.cfg)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.err)
		}
		if got := w.want(200, "/001565a1b2c3.cfg"); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, name := range hostile {
		f.Add(name)
	}
	set, err := readTemplates("", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, file := range set.files {
			b, err := file.write(sample(name, nil, true))
			if err != nil {
				t.Fatal(err)
			}
			tame, _ := file.write(sample("Alice", nil, true))
			if bytes.Count(b, []byte("\n")) != bytes.Count(tame, []byte("\n")) {
				t.Errorf("%s: %q adds a line", file.name, name)
			}
			if file.format == "xml" && shape(t, string(b)) != shape(t, string(tame)) {
				t.Errorf("%s: %q changes the XML", file.name, name)
			}
		}
	})
}
