package registrar

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/siproam/siproam/roam"
)

// Settings is the keys that Set knows, in the order people see them. A CSV of accounts may have them as columns.
var Settings = []string{"name", "class", "calls", "abilities"}

// ErrSetting is a key that Set does not know, or a value that it cannot read.
var ErrSetting = errors.New("no such setting")

// Set makes key of u what value says; an empty value takes it back. Lists are words with blanks or commas between.
func (u *User) Set(key, value string) (err error) {
	value = strings.TrimSpace(value)
	switch key {
	case "name":
		u.Name = value
	case "class":
		if u.Class = value; value != "" && !roam.IsClass(value) {
			err = ErrClass
		}
	case "calls":
		u.Calls, err = count(value)
	case "abilities":
		u.Abilities, err = declared(list(value))
	default:
		return fmt.Errorf("%q: %w; want %s", key, ErrSetting, strings.Join(Settings, ", "))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// Text is what Set reads as key of u; "" is the default.
func (u *User) Text(key string) string {
	switch key {
	case "name":
		return u.Name
	case "class":
		return u.Class
	case "calls":
		if u.Calls > 0 {
			return strconv.Itoa(u.Calls)
		}
	case "abilities":
		return strings.Join(u.Abilities, ",")
	}
	return ""
}

// list is the words of text, none of them nil.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// count is text as a number that is not negative; "" is 0.
func count(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q: want a number: %w", text, ErrSetting)
	}
	return n, nil
}

// settings is what Set changes of doc, as people see it.
func (doc *account) settings() User {
	return User{Name: doc.Name, Class: doc.Class, Calls: doc.Calls, Abilities: slices.Clone(doc.Abilities)}
}

// take makes u's settings doc's.
func (doc *account) take(u *User) (err error) {
	doc.Name, doc.Class, doc.Calls = u.Name, u.Class, u.Calls
	if doc.Abilities, err = declared(u.Abilities); err != nil {
		return err
	}
	switch {
	case doc.Class != "" && !roam.IsClass(doc.Class):
		return ErrClass
	case doc.Calls < 0:
		return ErrCalls
	}
	return nil
}
