// Package config reads one YAML file into a struct over its defaults, and says every
// mistake with its file, line, column and the line itself. It knows no role.
//
// It decodes goccy's syntax tree itself, strictly, so that one reading finds every mistake: unknown
// keys, keys given twice, a second document, values of the wrong type, and whatever the struct's
// Validate finds. A number that stands where text belongs is a mistake, because plain YAML
// turns +49 into 49 and 0100 into 64. The zero of everything is "not given": defaults are what the
// struct held before.
package config

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Validator is a part of the configuration that can be wrong in itself.
type Validator interface{ Validate() error }

// Announcer is a Validator that names keys it will have one day: "$.trunks". Such a key is refused as
// "not in this version" instead of "unknown".
type Announcer interface{ Later() []string }

// At is a mistake at a place in the file: "$.numbers.country". Validate returns it, alone or joined.
type At struct {
	Path string
	Err  error
}

// Error is "path: what is wrong".
func (a *At) Error() string { return strings.TrimPrefix(a.Path, "$.") + ": " + a.Err.Error() }

// Unwrap gives the mistake.
func (a *At) Unwrap() error { return a.Err }

// Read fills into from path. All mistakes come at once, joined, in the order of the file; each is a
// *Mistake. An error to read the file at all is an *fs.PathError.
func Read(path string, into Validator) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return Parse(path, src, into)
}

// Parse is Read of a file that is in memory already; name is what mistakes call it.
func Parse(name string, src []byte, into Validator) error {
	d := &decoder{name: name, lines: strings.Split(string(src), "\n"), places: map[string]*token.Token{}, wrong: map[string]bool{}}
	if a, ok := into.(Announcer); ok {
		d.later = a.Later()
	}
	if body, ok := d.parse(src); ok {
		d.root(body, into)
		d.validate(into)
	}
	if len(d.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(d.mistakes, func(a, b *Mistake) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	all := make([]error, len(d.mistakes))
	for i, m := range d.mistakes {
		all[i] = m
	}
	return errors.Join(all...)
}

// parse gives the one document's body, nil for an empty file.
func (d *decoder) parse(src []byte) (body ast.Node, ok bool) {
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) {
			d.mistake("", at.GetToken(), "not YAML: "+at.GetMessage())
		} else {
			d.mistake("", nil, "not YAML: "+err.Error())
		}
		return nil, false
	}
	for i, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case body == nil && i == 0:
			body = doc.Body
		case body == nil:
			body = doc.Body
		default:
			d.mistake("", startOf(doc.Body), "a second document; the file is one")
			return body, true
		}
	}
	return body, true
}

// validate adds what into finds wrong with itself, but for places that are wrong already.
func (d *decoder) validate(into Validator) {
	for _, err := range Flatten(into.Validate()) {
		var at *At
		if !errors.As(err, &at) {
			d.mistake("", nil, err.Error())
			continue
		}
		if path, tok := d.place(at.Path); !d.wrongAt(path) {
			d.mistake(at.Path, tok, at.Err.Error())
		}
	}
}

// wrongAt says that path, or something below it, is wrong already.
func (d *decoder) wrongAt(path string) bool {
	for p := range d.wrong {
		if rest, found := strings.CutPrefix(p, path); found && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// place finds the token of path, or of its nearest parent that is in the file.
func (d *decoder) place(path string) (string, *token.Token) {
	for p := path; p != "" && p != "$"; {
		if tok := d.places[p]; tok != nil {
			return p, tok
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
	return path, nil
}

// Flatten takes joined errors apart.
func Flatten(err error) []error {
	switch e := err.(type) {
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range e.Unwrap() {
			all = append(all, Flatten(one)...)
		}
		return all
	default:
		return []error{err}
	}
}

// Format writes v as the file would say it: the effective configuration. Fields marked "-" are left out.
func Format(v any) ([]byte, error) {
	return yaml.MarshalWithOptions(v, yaml.Indent(2), yaml.IndentSequence(true))
}
