package provision

import (
	"bytes"
	"embed"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

//go:embed templates
var builtIn embed.FS

// Bounds of the operator's folder and of what a template may write.
const (
	fileMax  = 256 << 10
	filesMax = 1000
	textMost = 1 << 20
)

// set is the templates in force: what each answers to. It is not changed after it was read.
type set struct{ files []*file }

// file is one template.
type file struct {
	vendor string
	name   string           // as in its folder: "SEPMAC.cnf.xml"
	asked  []*regexp.Regexp // the names under which phones ask for it
	format string
	own    bool // MAC is in its name: it is one phone's
	whole  bool // a phone that reads it has nothing but what stands in it: without an account it loses its own
	text   *template.Template
}

// head is the first line of every template: how values are escaped; whole, when a phone that reads it forgets what stands
// elsewhere; and the further names under which phones ask for it.
var head = regexp.MustCompile(`^\{\{/\* (xml|lines|address)(; whole)?(?:; also ([A-Za-z0-9._ -]+))? \*/\}\}\r?\n`)

var (
	vendorName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	fileName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)
)

// readTemplates reads the built in templates and those of folder, which add to them or take their place. All that is
// wrong with them comes at once, each with its file and line.
func readTemplates(folder string, values map[string]string) (*set, error) {
	texts := map[string]string{}
	built, _ := fs.Sub(builtIn, "templates") // there is one
	errs := collect(built, "", texts)
	if folder != "" {
		errs = append(errs, collect(os.DirFS(folder), folder, texts)...)
	}
	s := &set{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		f, err := readFile(name, texts[name], values)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.files = append(s.files, f)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Check finds what is wrong with the templates of folder, which may use values.
func Check(folder string, values map[string]string) error {
	_, err := readTemplates(folder, values)
	return err
}

// collect reads what stands in fsys as vendor/file into texts.
func collect(fsys fs.FS, where string, texts map[string]string) (errs []error) {
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p == ".":
			return nil
		case strings.HasPrefix(d.Name(), "."): // of an editor, or of version control
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() && strings.Contains(p, "/"):
			return fs.SkipDir
		case d.IsDir() || !strings.Contains(p, "/"):
			return nil
		case len(texts) >= filesMax:
			return fmt.Errorf("more than %d templates", filesMax)
		}
		if vendor, name := path.Split(p); !vendorName.MatchString(strings.TrimSuffix(vendor, "/")) || !fileName.MatchString(name) {
			errs = append(errs, fmt.Errorf("%s:1: neither folder nor file may have that name", path.Join(where, p)))
			return nil
		}
		text, err := readText(fsys, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path.Join(where, p), err))
			return nil
		}
		texts[p] = text
		return nil
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("templates %s: %w", where, err))
	}
	return errs
}

func readText(fsys fs.FS, p string) (string, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err == nil && len(b) > fileMax {
		err = fmt.Errorf("longer than %d bytes", fileMax)
	}
	return string(b), err
}

// readFile parses the template at p and tries it.
func readFile(p, text string, values map[string]string) (*file, error) {
	m := head.FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf(`%s:1: the first line is to say how values are written: {{/* xml */}}, {{/* lines */}} or {{/* address */}}`, p)
	}
	vendor, name := path.Split(p)
	f := &file{vendor: strings.TrimSuffix(vendor, "/"), name: name, format: m[1], whole: m[2] != ""}
	for _, n := range append([]string{name}, strings.Fields(m[3])...) {
		if strings.Count(n, "MAC") > 1 || strings.Count(n, "MODEL") > 1 || strings.Contains(n, "MAC") != strings.Contains(name, "MAC") {
			return nil, fmt.Errorf("%s:1: %s: MAC and MODEL once each, and MAC in all names or in none", p, n)
		}
		f.asked = append(f.asked, pattern(n))
	}
	f.own = strings.Contains(name, "MAC")
	first, rest, _ := strings.Cut(text, "\n") // kept as a line, so that errors name the right one; its end is trimmed
	t, err := template.New(p).Funcs(functions(f.format)).Option("missingkey=error").Parse(strings.TrimSuffix(strings.TrimSuffix(first, "\r"), "}}") + " -}}\n" + rest)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	for _, one := range t.Templates() {
		if one.Tree != nil {
			escapeAll(one.Tree, one.Root)
		}
	}
	f.text = t
	return f, f.try(values)
}

// pattern is the names that n stands for, in any case: MAC is 12 hex digits, MODEL what a vendor calls the kind of phone.
func pattern(n string) *regexp.Regexp {
	q := regexp.QuoteMeta(n)
	q = strings.Replace(q, "MODEL", `[0-9A-Za-z_+-]{1,32}`, 1)
	q = strings.Replace(q, "MAC", `(?P<mac>[0-9A-Fa-f]{12})`, 1)
	return regexp.MustCompile(`(?i)^` + q + `$`)
}

// escapeAll has everything that the template writes go through escape: no value can be forgotten.
func escapeAll(t *parse.Tree, n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, one := range n.Nodes {
			escapeAll(t, one)
		}
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			escape := parse.NewIdentifier(escapeName).SetTree(t).SetPos(n.Pos)
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{escape}})
		}
	case *parse.IfNode:
		escapeAll(t, n.List)
		escapeAll(t, n.ElseList)
	case *parse.RangeNode:
		escapeAll(t, n.List)
		escapeAll(t, n.ElseList)
	case *parse.WithNode:
		escapeAll(t, n.List)
		escapeAll(t, n.ElseList)
	}
}

// find is the templates under whose names asked is, and the address in it.
func (s *set) find(asked string) (found []*file, m MAC, has bool) {
	for _, f := range s.files {
		for _, re := range f.asked {
			sub := re.FindStringSubmatch(asked)
			if sub == nil {
				continue
			}
			if i := re.SubexpIndex("mac"); i > 0 {
				m, has = ParseMAC(sub[i])
			}
			found = append(found, f)
			break
		}
	}
	return found, m, has
}

// write makes the settings.
func (f *file) write(v *Values) ([]byte, error) {
	var out bounded
	if err := f.text.Execute(&out, v); err != nil {
		if at, is := strings.CutPrefix(err.Error(), "template: "); is {
			return nil, errors.New(at)
		}
		return nil, fmt.Errorf("%s:1: %w", f.text.Name(), err)
	}
	return out.Bytes(), nil
}

// bounded is a buffer of at most textMost bytes.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > textMost {
		return 0, fmt.Errorf("settings of more than %d bytes", textMost)
	}
	return b.Buffer.Write(p)
}

// try has f write the settings of phones with and without an account, with all that an office can say and with the least, and
// with a name made to break out of its place. XML must be well formed; lines must be as many as with a harmless name.
func (f *file) try(values map[string]string) error {
	for _, account := range []bool{true, false} {
		least := sample("Alice", values, account)
		least.NTP, least.Emergency, least.Keys, least.VLAN, least.Servers, least.Proxies = nil, nil, nil, 0, least.Servers[:1], least.Proxies[:1]
		if _, err := f.write(least); err != nil {
			return err
		}
		tame, err := f.write(sample("Alice", values, account))
		if err != nil {
			return err
		}
		wild, err := f.write(sample("\"'><a b=\"c\"/>&;\r\naccount.1.enable = 0\n#]]>{{.}}\x00\u2028\xff", values, account))
		if err != nil {
			return err
		}
		switch f.format {
		case "xml":
			if err := wellFormed(wild); err != nil {
				return fmt.Errorf("%s:%d: what it writes is not XML: %w", f.text.Name(), lineOf(err), err)
			}
		default:
			if a, b := bytes.Count(tame, []byte("\n")), bytes.Count(wild, []byte("\n")); a != b {
				return fmt.Errorf("%s:1: a name makes %d lines of %d", f.text.Name(), b, a)
			}
		}
	}
	return nil
}

// wellFormed reads b to its end.
func wellFormed(b []byte) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func lineOf(err error) int {
	var at *xml.SyntaxError
	if errors.As(err, &at) {
		return at.Line
	}
	return 1
}
