package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder reads one file. It goes on after a mistake: the value stays what it was.
type decoder struct {
	name     string
	lines    []string
	later    []string                // paths that are not in this version
	places   map[string]*token.Token // path -> where it stands, for Validate's mistakes
	anchors  map[string]ast.Node
	wrong    map[string]bool // paths with a mistake already
	mistakes []*Mistake
}

const quote = "quote every telephone number and code"

var (
	textType = reflect.TypeFor[encoding.TextUnmarshaler]()
	yamlType = reflect.TypeFor[yaml.InterfaceUnmarshaler]()
)

// root decodes the whole document.
func (d *decoder) root(body ast.Node, into any) {
	d.anchors = map[string]ast.Node{}
	if body != nil {
		d.value("$", body, reflect.ValueOf(into).Elem())
	}
}

// value decodes n, which stands at path, into v.
func (d *decoder) value(path string, n ast.Node, v reflect.Value) {
	n = d.resolve(n)
	if d.places[path] == nil || isScalar(n) {
		d.places[path] = startOf(n)
	}
	if v.CanAddr() && v.Addr().Type().Implements(yamlType) {
		d.custom(path, n, v.Addr().Interface().(yaml.InterfaceUnmarshaler))
		return
	}
	if v.CanAddr() && v.Addr().Type().Implements(textType) {
		d.text(path, n, v.Addr().Interface().(encoding.TextUnmarshaler))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if _, nothing := n.(*ast.NullNode); nothing {
			return
		}
		p := reflect.New(v.Type().Elem())
		d.value(path, n, p.Elem())
		v.Set(p)
	case reflect.Struct:
		d.structure(path, n, v)
	case reflect.Map:
		d.mapping(path, n, v)
	case reflect.Slice:
		d.sequence(path, n, v)
	default:
		d.scalar(path, n, v)
	}
}

// resolve looks through anchors and aliases, at most a few: "&a *a" means itself.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for range 8 {
		switch t := n.(type) {
		case *ast.AnchorNode:
			d.anchors[t.Name.String()] = t.Value
			n = t.Value
		case *ast.AliasNode:
			known := d.anchors[t.Value.String()]
			if known == nil {
				return n
			}
			n = known
		default:
			return n
		}
	}
	return n
}

// pair is one key of a mapping with its value.
type pair struct {
	key   string
	token *token.Token
	value ast.Node
}

// pairs takes a mapping apart; a key given twice, or one that is not text, is a mistake.
func (d *decoder) pairs(path string, n ast.Node) (all []pair, ok bool) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	case *ast.NullNode: // "numbers:" with everything below it commented out
		return nil, true
	default:
		d.mistake(path, startOf(n), "want keys and values here, got "+kindOf(n))
		return nil, false
	}
	seen := map[string]int{}
	for _, one := range values {
		tok := one.Key.GetToken()
		p := pair{key: tok.Value, token: tok, value: one.Value}
		at := join(path, p.key)
		switch one.Key.(type) {
		case *ast.StringNode:
		case *ast.IntegerNode, *ast.FloatNode:
			d.mistake(at, tok, fmt.Sprintf("a number without quotes; %s: %q", quote, strings.TrimSpace(tok.Origin)))
			continue
		default:
			d.mistake(at, tok, "a key must be plain text")
			continue
		}
		if line := seen[p.key]; line > 0 {
			d.mistake(at, tok, fmt.Sprintf("given twice, first in line %d", line))
			continue
		}
		seen[p.key] = tok.Position.Line
		d.places[at] = tok
		all = append(all, p)
	}
	return all, true
}

// structure decodes a mapping into a struct: every key must be one of its fields.
func (d *decoder) structure(path string, n ast.Node, v reflect.Value) {
	pairs, _ := d.pairs(path, n)
	fields := fieldsOf(v.Type())
	for _, p := range pairs {
		at := join(path, p.key)
		switch i, known := fields[p.key]; {
		case known:
			d.value(at, p.value, v.FieldByIndex(i))
		case slices.Contains(d.later, at):
			d.mistake(at, p.token, "not in this version")
		default:
			names := make([]string, 0, len(fields))
			for name := range fields {
				names = append(names, name)
			}
			slices.Sort(names)
			text := "unknown key"
			if near := nearest(p.key, names); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
			} else {
				text += "; known here: " + strings.Join(names, ", ")
			}
			d.mistake(at, p.token, text)
		}
	}
}

// fieldsOf maps the keys of a struct to its fields; the keys of one that is inline stand among them.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := map[string][]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, how, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if how == "inline" {
			for inner, at := range fieldsOf(f.Type) {
				fields[inner] = append([]int{i}, at...)
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		fields[name] = f.Index
	}
	return fields
}

func (d *decoder) mapping(path string, n ast.Node, v reflect.Value) {
	pairs, ok := d.pairs(path, n)
	if !ok {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(pairs))
	for _, p := range pairs {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(join(path, p.key), p.value, e)
		m.SetMapIndex(reflect.ValueOf(p.key).Convert(v.Type().Key()), e)
	}
	v.Set(m)
}

func (d *decoder) sequence(path string, n ast.Node, v reflect.Value) {
	var values []ast.Node
	switch s := n.(type) {
	case *ast.SequenceNode:
		values = s.Values
	case *ast.NullNode:
	default:
		d.mistake(path, startOf(n), "want a list, got "+kindOf(n))
		return
	}
	all := reflect.MakeSlice(v.Type(), len(values), len(values))
	for i, one := range values {
		d.value(path+"["+strconv.Itoa(i)+"]", one, all.Index(i))
	}
	v.Set(all)
}

// custom has a type of its own read n.
func (d *decoder) custom(path string, n ast.Node, u yaml.InterfaceUnmarshaler) {
	before := len(d.mistakes)
	err := u.UnmarshalYAML(func(v any) error {
		attempt := &decoder{name: d.name, lines: d.lines, places: map[string]*token.Token{}, wrong: map[string]bool{}, anchors: d.anchors}
		attempt.value(path, n, reflect.ValueOf(v).Elem())
		if len(attempt.mistakes) > 0 {
			return errors.New(attempt.mistakes[0].Text)
		}
		return nil
	})
	if err != nil && len(d.mistakes) == before {
		d.mistake(path, startOf(n), err.Error())
	}
}

// text decodes a scalar into what reads itself from text: a time, an address.
func (d *decoder) text(path string, n ast.Node, u encoding.TextUnmarshaler) {
	if !isScalar(n) {
		d.mistake(path, startOf(n), "want one value, got "+kindOf(n))
		return
	}
	if err := u.UnmarshalText([]byte(n.GetToken().Value)); err != nil {
		d.mistake(path, startOf(n), err.Error())
	}
}

// scalar decodes text, a number or true and false.
func (d *decoder) scalar(path string, n ast.Node, v reflect.Value) {
	tok := startOf(n)
	if _, nothing := n.(*ast.NullNode); nothing {
		tok = d.places[path] // the key: there is nothing else to point at
	}
	bad := func(want string) { d.mistake(path, tok, "want "+want+", got "+kindOf(n)) }
	switch v.Kind() {
	case reflect.String:
		switch s := n.(type) {
		case *ast.StringNode:
			v.SetString(s.Value)
		case *ast.LiteralNode:
			v.SetString(s.Value.Value)
		case *ast.TagNode:
			d.tagged(path, s, v)
		case *ast.IntegerNode, *ast.FloatNode:
			d.mistake(path, tok, fmt.Sprintf("a number without quotes; %s: %q", quote, strings.TrimSpace(tok.Origin)))
		default:
			bad("text")
		}
	case reflect.Int, reflect.Int64, reflect.Int32:
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			bad("a whole number")
			return
		}
		x, small := whole(i.Value)
		if !small || v.OverflowInt(x) {
			d.mistake(path, tok, "number too large")
			return
		}
		v.SetInt(x)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			bad("true or false")
			return
		}
		v.SetBool(b.Value)
	default:
		panic("config: a field of type " + v.Type().String())
	}
}

// tagged is a value with its type written before it; only !!str means something here.
func (d *decoder) tagged(path string, t *ast.TagNode, v reflect.Value) {
	if t.Start.Value != "!!str" || t.Value == nil || !isScalar(t.Value) {
		d.mistake(path, t.GetToken(), "a tag we do not know")
		return
	}
	v.SetString(t.Value.GetToken().Value)
}

func whole(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case uint64:
		return int64(n), n <= math.MaxInt64
	}
	return 0, false
}

// join is the path of key below path.
func join(path, key string) string { return path + "." + key }

// startOf is the first token of n that a person would point at.
func startOf(n ast.Node) *token.Token {
	switch t := n.(type) {
	case *ast.MappingNode:
		if !t.IsFlowStyle && len(t.Values) > 0 {
			return t.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return t.Key.GetToken()
	case *ast.LiteralNode:
		return t.Start
	}
	return n.GetToken()
}

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.LiteralNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}

// kindOf says what n is, as people would.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.AliasNode:
		return "an alias of nothing"
	}
	return "something else"
}
