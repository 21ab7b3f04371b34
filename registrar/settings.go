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
var Settings = []string{"name", "class", "calls", "abilities", "bar", "allow", "forward.always", "forward.busy", "forward.noanswer", "forward.offline", "forward.after"}

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
	case "bar":
		u.Bar, err = prefixes(list(value))
	case "allow":
		u.Allow, err = prefixes(list(value))
	case "forward.after":
		u.Forward, err = after(u.Forward, value)
	case "forward.always", "forward.busy", "forward.noanswer", "forward.offline":
		u.Forward, err = forward(u.Forward, key, value)
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
	case "bar":
		return strings.Join(u.Bar, ",")
	case "allow":
		return strings.Join(u.Allow, ",")
	}
	if u.Forward == nil {
		return ""
	}
	if key == "forward.after" {
		if u.Forward.After > 0 {
			return strconv.Itoa(u.Forward.After)
		}
		return ""
	}
	if to := target(u.Forward, key); to != nil {
		return *to
	}
	return ""
}

// target is where f has the destination of key.
func target(f *roam.Forward, key string) *string {
	switch key {
	case "forward.always":
		return &f.Always
	case "forward.busy":
		return &f.Busy
	case "forward.noanswer":
		return &f.NoAnswer
	case "forward.offline":
		return &f.Offline
	}
	return nil
}

// The errors of services.
var (
	ErrForward = errors.New("want +15550002001 or user@domain")
	ErrPrefix  = errors.New("want the beginning of a number such as +1900 or 0190, or @domain")
	ErrAfter   = errors.New("want 5 to 120 seconds")
)

// forward is f with another destination. Profiles are shared, so f stays as it is.
func forward(f *roam.Forward, key, to string) (*roam.Forward, error) {
	if to != "" {
		user, host, found := strings.Cut(to, "@")
		address := found && user != "" && host != "" && len(to) <= 128 && !strings.ContainsAny(user+host, " \t\r\n<>\"@;?,:")
		if !address && (to[0] != '+' || len(to) < 8 || !number(to)) {
			return f, fmt.Errorf("%q: %w", to, ErrForward)
		}
	}
	now := roam.Forward{}
	if f != nil {
		now = *f
	}
	*target(&now, key) = to
	return some(now), nil
}

func after(f *roam.Forward, value string) (*roam.Forward, error) {
	n, err := count(value)
	if err != nil || value != "" && (n < 5 || n > 120) {
		return f, fmt.Errorf("%q: %w", value, ErrAfter)
	}
	now := roam.Forward{}
	if f != nil {
		now = *f
	}
	now.After = n
	return some(now), nil
}

// some is f, nil when it says nothing.
func some(f roam.Forward) *roam.Forward {
	if f.Always == "" && f.Busy == "" && f.NoAnswer == "" && f.Offline == "" && f.After == 0 && f.Unknown == nil {
		return nil
	}
	return &f
}

// prefixes is entries of a list of what may be dialled or not.
func prefixes(words []string) (all []string, err error) {
	for _, w := range words {
		domain := strings.HasPrefix(w, "@") && len(w) > 1
		digits := strings.Trim(strings.TrimPrefix(w, "+"), "0123456789*#") == ""
		if !domain && !digits || len(w) > longTag || len(all) >= mostTags {
			return nil, fmt.Errorf("%q: %w", w, ErrPrefix)
		}
		all = tag(all, w)
	}
	return all, nil
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
	return User{Name: doc.Name, Class: doc.Class, Calls: doc.Calls, Abilities: slices.Clone(doc.Abilities), Bar: slices.Clone(doc.Bar), Allow: slices.Clone(doc.Allow), Forward: doc.Forward}
}

// take makes u's settings doc's.
func (doc *account) take(u *User) (err error) {
	doc.Name, doc.Class, doc.Calls = u.Name, u.Class, u.Calls
	if doc.Abilities, err = declared(u.Abilities); err != nil {
		return err
	}
	if doc.Bar, err = prefixes(u.Bar); err != nil {
		return err
	}
	if doc.Allow, err = prefixes(u.Allow); err != nil {
		return err
	}
	if doc.Forward = u.Forward; u.Forward != nil {
		if u.Forward.After != 0 {
			if _, err := after(nil, strconv.Itoa(u.Forward.After)); err != nil {
				return err
			}
		}
		for _, key := range Settings {
			if to := target(u.Forward, key); to != nil {
				if _, err := forward(nil, key, *to); err != nil {
					return err
				}
			}
		}
	}
	switch {
	case doc.Class != "" && !roam.IsClass(doc.Class):
		return ErrClass
	case doc.Calls < 0:
		return ErrCalls
	}
	return nil
}
