package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// Mistake is one thing that is wrong in a file.
type Mistake struct {
	File   string
	Line   int    // from 1; 0: not in the file at all
	Column int    // from 1, in characters
	Path   string // "numbers.country"; "" for the file as a whole
	Text   string // what is wrong
	Source string // the line itself
}

// Error is "file:line:column: path: what is wrong", then the line with a caret below the place.
func (m *Mistake) Error() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", m.Line, m.Column)
	}
	b.WriteString(": ")
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.Text)
	if m.Line > 0 {
		fmt.Fprintf(&b, "\n%5d | %s\n      | %s^", m.Line, m.Source, m.indent())
	}
	return b.String()
}

// indent is what must stand before the caret; tabs stay tabs, so that it lines up on any terminal.
func (m *Mistake) indent() string {
	var b strings.Builder
	for i, r := range []rune(m.Source) {
		if i >= m.Column-1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

// mistake notes that tok, at path, is wrong. A nil tok is the whole file.
func (d *decoder) mistake(path string, tok *token.Token, text string) {
	m := &Mistake{File: d.name, Path: strings.TrimPrefix(strings.TrimPrefix(path, "$"), "."), Text: text}
	if tok != nil && tok.Position != nil {
		m.Line, m.Column = tok.Position.Line, tok.Position.Column
		if m.Line >= 1 && m.Line <= len(d.lines) {
			m.Source = strings.TrimRight(d.lines[m.Line-1], "\r")
		}
	}
	d.wrong[path] = true
	d.mistakes = append(d.mistakes, m)
}

// nearest is the known word closest to word, "" when none is close.
func nearest(word string, known []string) string {
	best, at := "", 3
	for _, k := range known {
		if n := distance(word, k); n < at && n < len(k) {
			best, at = k, n
		}
	}
	return best
}

// distance is how many letters must be changed, added or taken away (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
