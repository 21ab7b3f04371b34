package cli

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/siproam/siproam/office"
)

// users is the commands about accounts.
type users struct {
	Add     userAdd     `cmd:"" help:"Make an account."`
	List    userList    `cmd:"" help:"List the accounts."`
	Show    userShow    `cmd:"" help:"Show one account."`
	Set     userSet     `cmd:"" help:"Change an account: name=Alice, class=guest, forward.busy=2002, bar=+1900; class= takes it away."`
	Passwd  userPasswd  `cmd:"" help:"Give an account a new password."`
	Disable userDisable `cmd:"" help:"Refuse an account's registrations and calls."`
	Enable  userEnable  `cmd:"" help:"Take that back."`
	Alias   userAlias   `cmd:"" help:"Give an account another name, or take one away."`
	Remove  userRemove  `cmd:"" help:"Delete an account and end its registrations."`
	Import  userImport  `cmd:"" help:"Make the accounts of a CSV file, all or none."`
}

// secret is the ways a password comes in.
type secret struct {
	Generate      bool `xor:"password" help:"Make a password and print it."`
	PasswordStdin bool `xor:"password" help:"Read the password from standard input."`
}

// read gives the password; made says that it must be shown.
func (s *secret) read(e *env, user string) (password string, made bool, err error) {
	if s.Generate {
		return generate(), true, nil
	}
	file, isFile := e.in.(*os.File)
	if !s.PasswordStdin && isFile && term.IsTerminal(int(file.Fd())) {
		password, err = prompt(e, file, user)
		return password, false, err
	}
	if !s.PasswordStdin {
		return "", false, misuse("password: no terminal to ask on; use --password-stdin or --generate")
	}
	b, err := io.ReadAll(io.LimitReader(e.in, 1024))
	if err != nil {
		return "", false, err
	}
	if password = strings.TrimRight(string(b), "\r\n"); password == "" {
		return "", false, misuse("password: empty")
	}
	return password, false, nil
}

// prompt asks twice, without echo.
func prompt(e *env, file *os.File, user string) (string, error) {
	ask := func(text string) (string, error) {
		fmt.Fprint(e.stderr, text)
		b, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(e.stderr)
		return string(b), err
	}
	first, err := ask("new password for " + user + ": ")
	if err != nil {
		return "", err
	}
	second, err := ask("again: ")
	switch {
	case err != nil:
		return "", err
	case first != second:
		return "", misuse("password: the two differ")
	case first == "":
		return "", misuse("password: empty")
	}
	return first, nil
}

// generate makes a password of 80 bits that can be typed on a telephone's web page.
func generate() string { return strings.ToLower(rand.Text()[:16]) }

// account is what a new account is sent as.
type account struct {
	User     string   `json:"user"`
	Name     string   `json:"name,omitempty"`
	Number   string   `json:"number,omitempty"`
	Short    string   `json:"short,omitempty"`
	Aliases  []string `json:"aliases,omitempty"`
	Calls    int      `json:"calls,omitempty"`
	Class    string   `json:"class,omitempty"`
	Password string

	Algorithms []string `json:"algorithms,omitempty"`
}

type userAdd struct {
	target
	secret
	User   string   `arg:"" help:"Extension or name, 1001 or alice; the domain is the office's."`
	Name   string   `help:"Display name."`
	Number string   `help:"Public number, +15550001001; default: by the dialling plan."`
	Short  string   `help:"Extension; default: the user when it is digits."`
	Alias  []string `help:"Other names that reach and log in this user."`
	Calls  int      `help:"Most calls at once; 0: no limit."`
	Class  string   `help:"Class of users, which roaming agreements may name: guest."`

	Algorithms string `enum:",md5,sha-256,both" default:"" help:"Digest algorithms of this user: md5, sha-256 or both; default: as the domain."`
}

// Run is kong's.
func (c *userAdd) Run(e *env) error {
	password, made, err := c.read(e, c.User)
	if err != nil {
		return err
	}
	a := account{User: c.User, Name: c.Name, Number: c.Number, Short: c.Short, Aliases: c.Alias, Calls: c.Calls, Class: c.Class, Password: password, Algorithms: c.digest()}
	return c.answer(e, "POST", "/users", "", a, password, made)
}

// digest is the algorithms that were asked for.
func (c *userAdd) digest() []string {
	if c.Algorithms == "" {
		return nil
	}
	return []string{c.Algorithms}
}

// answer sends a change and shows the account as it is now, with the password if it was made here.
func (t *target) answer(e *env, method, path, user string, body any, password string, made bool) error {
	var got struct {
		office.OfficeUser
		Password string `json:"password,omitempty"`
	}
	if err := t.ask(e, method, path, t.query("user", user), body, &got); err != nil {
		return err
	}
	if made {
		got.Password = password
	}
	return e.show(got, func(w *tabwriter.Writer) {
		writeUser(w, got.OfficeUser)
		if made {
			fmt.Fprintf(w, "password\t%s\n", password)
		}
	})
}

func writeUser(w io.Writer, u office.OfficeUser) {
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, value)
		}
	}
	line("user", string(u.ID))
	line("office", u.Office)
	line("name", u.Name)
	line("number", u.Number)
	line("extension", u.Short)
	line("aliases", strings.Join(u.Aliases, " "))
	line("algorithms", strings.Join(u.Algorithms, " "))
	for _, key := range office.Settings {
		if key != "name" {
			line(key, u.Text(key))
		}
	}
	line("state", word(u.Disabled, "disabled", "enabled"))
}

type userList struct{ target }

// Run is kong's.
func (c *userList) Run(e *env) error {
	var all []office.OfficeUser
	if err := c.ask(e, "GET", "/users", c.query(), nil, &all); err != nil {
		return err
	}
	return e.show(all, func(t *tabwriter.Writer) {
		fmt.Fprintln(t, "USER\tNAME\tNUMBER\tEXT\tALIASES\tSTATE")
		for _, u := range all {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", u.ID, u.Name, u.Number, u.Short, strings.Join(u.Aliases, " "), word(u.Disabled, "disabled", ""))
		}
	})
}

// named is a command about one account.
type named struct {
	target
	User string `arg:"" help:"Number, alias or user@domain."`
}

type userShow struct{ named }

// Run is kong's.
func (c *userShow) Run(e *env) error { return c.answer(e, "GET", "/user", c.User, nil, "", false) }

type userPasswd struct {
	named
	secret
	Algorithms string `enum:",md5,sha-256,both" default:"" help:"Also change the user's digest algorithms: md5, sha-256 or both."`
}

// Run is kong's.
func (c *userPasswd) Run(e *env) error {
	password, made, err := c.read(e, c.User)
	if err != nil {
		return err
	}
	change := map[string]any{"Password": password}
	if c.Algorithms != "" {
		change["Algorithms"] = []string{c.Algorithms}
	}
	return c.answer(e, "PATCH", "/user", c.User, change, password, made)
}

type userSet struct {
	named
	Set []string `arg:"" placeholder:"KEY=VALUE" help:"A setting (name, class, calls, abilities, bar, allow, forward.always, .busy, .noanswer, .offline, .after) and what it is to be."`
}

// Run is kong's.
func (c *userSet) Run(e *env) error {
	set := map[string]string{}
	for _, one := range c.Set {
		key, value, found := strings.Cut(one, "=")
		if !found {
			return misuse("%q: want key=value", one)
		}
		set[key] = value
	}
	return c.answer(e, "PATCH", "/user", c.User, map[string]any{"Set": set}, "", false)
}

type userDisable struct{ named }

// Run is kong's.
func (c *userDisable) Run(e *env) error {
	return c.answer(e, "PATCH", "/user", c.User, map[string]any{"Disabled": true}, "", false)
}

type userEnable struct{ named }

// Run is kong's.
func (c *userEnable) Run(e *env) error {
	return c.answer(e, "PATCH", "/user", c.User, map[string]any{"Disabled": false}, "", false)
}

type userAlias struct {
	named
	secret
	Alias  string `arg:"" help:"alice, alice@domain or +15550001001."`
	Delete bool   `help:"Take the name away."`
}

// Run is kong's. Digest covers the login name, so a new name needs the password.
func (c *userAlias) Run(e *env) error {
	if c.Delete {
		return c.answer(e, "PATCH", "/user", c.User, map[string]any{"DelAlias": []string{c.Alias}}, "", false)
	}
	password, made, err := c.read(e, c.User)
	if err != nil {
		return err
	}
	return c.answer(e, "PATCH", "/user", c.User, map[string]any{"AddAlias": []string{c.Alias}, "Password": password}, password, made)
}

type userRemove struct{ named }

// Run is kong's.
func (c *userRemove) Run(e *env) error {
	return c.answer(e, "DELETE", "/user", c.User, nil, "", false)
}

type userImport struct {
	target
	File string `arg:"" help:"CSV whose first line names its columns: user,number,short,aliases,password,ha1,ha1_sha256,algorithms, and the settings of user set; - is standard input."`
}

// Run is kong's.
func (c *userImport) Run(e *env) error {
	read := func() ([]byte, error) { return os.ReadFile(c.File) }
	if c.File == "-" {
		read = func() ([]byte, error) { return io.ReadAll(e.in) }
	}
	b, err := read()
	if err != nil {
		return err
	}
	var done struct {
		Office string `json:"office"`
		Added  int    `json:"added"`
	}
	if err := c.ask(e, "POST", "/users/import", c.query("name", c.File), bytes.NewReader(b), &done); err != nil {
		return err
	}
	return e.show(done, func(t *tabwriter.Writer) { fmt.Fprintf(t, "%d accounts made at %s\n", done.Added, done.Office) })
}
