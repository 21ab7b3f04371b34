package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/siproam/siproam/"

// allowed is every edge between our packages; what is not in it is an error. Arrows point down only, and
// roles never import each other: package office hands them to each other.
var allowed = map[string]string{
	"":                  "cli",
	"cli":               "office config phone redirect roam web routesrv",
	"office":            "config web registrar edge softswitch softswitch/plan routesrv billing provision media store dhcp dhcp/lease dhcp/wire loop metric nameserver roam sip sip/dialog sip/transaction sip/transport",
	"redirect":          "loop metric roam routesrv seal sip sip/transaction sip/transport web",
	"web":               "metric roam",
	"registrar":         "registrar/control loop metric roam seal sip sip/digest sip/transaction store",
	"registrar/control": "roam",
	"softswitch":        "softswitch/plan loop media metric roam sip sip/dialog sip/transaction",
	"softswitch/plan":   "roam",
	"routesrv":          "loop metric roam sip",
	"billing":           "loop metric roam store",
	"edge":              "loop metric roam seal sip sip/transaction store",
	"dhcp":              "dhcp/lease dhcp/wire loop metric roam store",
	"dhcp/lease":        "roam",
	"dhcp/wire":         "metric roam",
	"phone":             "metric roam",
	"media":             "metric roam",
	"nameserver":        "metric roam",
	"store":             "metric roam",
	"loop":              "metric roam",
	"provision":         "metric roam store",
	"seal":              "metric roam",
	"config":            "metric roam",
	"metric":            "",
	"sip":               "roam",
	"sip/digest":        "roam seal sip",
	"sip/transport":     "metric roam sip",
	"sip/transaction":   "loop metric roam sip",
	"sip/dialog":        "loop roam seal sip sip/transaction",
	"sip/siptest":       "loop metric roam sip sip/dialog sip/transaction sip/transport", // for tests only
	"roam":              "",
	"e2e":               "",
}

// fences is which packages may import a library, by the beginning of its path.
var fences = map[string]string{
	"github.com/emiago/sipgo":                "phone",
	"github.com/pion/":                       "media phone",
	"github.com/redis/":                      "routesrv",
	"github.com/miekg/dns":                   "nameserver sip/transport sip/siptest",
	"github.com/gobwas/":                     "sip/transport",
	"github.com/insomniacslk/":               "dhcp dhcp/wire",
	"github.com/alicebob/miniredis":          "routesrv",
	"modernc.org/":                           "store",
	"github.com/mattn/go-sqlite3":            "store",
	"github.com/ncruces/go-sqlite3":          "store",
	"github.com/prometheus/":                 "web",
	"github.com/goccy/go-yaml":               "config",
	"github.com/alecthomas/kong":             "cli",
	"golang.org/x/term":                      "cli",
	"github.com/siproam/siproam/sip/siptest": "",
	"github.com/yuin/gopher-lua":             "", // for tests only, as are these
	"github.com/anishathalye/porcupine":      "",
	"pgregory.net/rapid":                     "",
}

// onTheLoop never wait, so they have nothing to wait for.
const onTheLoop = "registrar registrar/control edge softswitch softswitch/plan sip sip/digest sip/transaction sip/dialog loop dhcp/lease"

// waiting is what packages on the loop may not import.
const waiting = "net os net/http os/exec"

// timeless decide by the time they are given.
const timeless = "registrar/control softswitch/plan dhcp/lease"

// source is one parsed file that is no test.
type source struct {
	pkg, name string
	file      *ast.File
}

// has says that the words of list hold word.
func has(list, word string) bool { return slices.Contains(strings.Fields(list), word) }

// complaints is everything wrong with the imports and calls of s.
func complaints(s source) (all []string) {
	say := func(text string) { all = append(all, path.Join(s.pkg, s.name)+": "+text) }
	edges, known := allowed[s.pkg]
	if !known {
		say("package " + s.pkg + " is not in the table of imports")
	}
	for _, i := range s.file.Imports {
		to, _ := strconv.Unquote(i.Path.Value)
		if ours, found := strings.CutPrefix(to, module); found && !has(edges, ours) {
			say("imports " + ours)
		}
		for library, may := range fences {
			if strings.HasPrefix(to, library) && !has(may, s.pkg) {
				say("imports " + to + ", which belongs to " + may)
			}
		}
		if has(onTheLoop, s.pkg) && has(waiting, to) {
			say("runs on the loop and imports " + to)
		}
	}
	if has(timeless, s.pkg) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && has("Now Since Until After Sleep NewTimer Tick", sel.Sel.Name) {
					say("is given the time and calls time." + sel.Sel.Name)
				}
			}
			return true
		})
	}
	for _, group := range s.file.Comments {
		for _, word := range []string{"TODO", "FIXME", "XXX"} {
			if strings.Contains(group.Text(), word) {
				say("leaves a " + word)
			}
		}
	}
	return all
}

// sources parses every file of ours that is no test.
func sources(t *testing.T) (all []source) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || has("testdata dist bench docs", d.Name())) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(p))
		if pkg == "." {
			pkg = ""
		}
		all = append(all, source{pkg, filepath.Base(p), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImports(t *testing.T) {
	all := sources(t)
	if len(all) < 50 {
		t.Fatalf("got %d files, want the whole tree", len(all))
	}
	for _, s := range all {
		for _, c := range complaints(s) {
			t.Error(c)
		}
	}
}

// TestImportsFlags: each guard flags what it is for.
func TestImportsFlags(t *testing.T) {
	for _, c := range []struct{ pkg, src, want string }{
		{"softswitch", `import "github.com/siproam/siproam/registrar"`, "imports registrar"},
		{"roam", `import "github.com/siproam/siproam/sip"`, "imports sip"},
		{"newcomer", ``, "not in the table"},
		{"registrar", `import "github.com/redis/go-redis/v9"`, "belongs to routesrv"},
		{"sip", `import "github.com/emiago/sipgo/sip"`, "belongs to phone"},
		{"office", `import "github.com/gobwas/ws"`, "belongs to sip/transport"},
		{"office", `import "github.com/pion/rtp"`, "belongs to media phone"},
		{"office", `import "github.com/goccy/go-yaml"`, "belongs to config"},
		{"billing", `import _ "modernc.org/sqlite"`, "belongs to store"},
		{"office", `import "github.com/siproam/siproam/sip/siptest"`, "imports sip/siptest"},
		{"registrar", `import "net"`, "runs on the loop and imports net"},
		{"sip/dialog", `import "os"`, "runs on the loop and imports os"},
		{"softswitch", `import "net/http"`, "runs on the loop and imports net/http"},
		{"registrar/control", "import \"time\"\nvar now = time.Now()", "calls time.Now"},
		{"softswitch/plan", "import \"time\"\nfunc f() { time.Sleep(1) }", "calls time.Sleep"},
		{"media", "// TODO: later\nvar x int", "leaves a TODO"},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+c.src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(complaints(source{c.pkg, "x.go", f}), "; "); !strings.Contains(got, c.want) {
			t.Errorf("%s with %s: got %q, want %q", c.pkg, c.src, got, c.want)
		}
	}
	f, _ := parser.ParseFile(token.NewFileSet(), "x.go", `package x
import ("net/netip"; "time"; "github.com/siproam/siproam/roam"; "github.com/siproam/siproam/sip")
var d = time.Second`, parser.ParseComments)
	if got := complaints(source{"sip/transaction", "x.go", f}); got != nil {
		t.Errorf("got %v for what is allowed", got)
	}
}

// undocumented is the packages without a doc that begins as go doc wants it.
func undocumented(all []source) (missing []string) {
	said := map[string]bool{}
	for _, s := range all {
		doc := s.file.Doc.Text()
		said[s.pkg] = said[s.pkg] || strings.HasPrefix(doc, "Package "+s.file.Name.Name+" ") || s.file.Name.Name == "main" && strings.HasPrefix(doc, "Command ")
	}
	for pkg, ok := range said {
		if !ok {
			missing = append(missing, pkg)
		}
	}
	return missing
}

func TestPackageDocs(t *testing.T) {
	if got := undocumented(sources(t)); len(got) > 0 {
		t.Errorf("without a package doc: %v", got)
	}
	for _, src := range []string{"package x", "// Something else.\npackage x", "// Package y is another.\npackage x"} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if got := undocumented([]source{{"x", "x.go", f}}); len(got) != 1 {
			t.Errorf("%q: got %v, want it flagged", src, got)
		}
	}
}
