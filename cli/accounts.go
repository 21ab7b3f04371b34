package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// accounts is the lab's users and their passwords, kept in accounts.txt.
type accounts struct {
	passwords map[string]string // extension -> password
	changed   bool              // since the last start
}

const accountsFile = "accounts.txt"

// demoPassword is a password everybody may know: it works on loopback only.
func demoPassword(n string) string { return "demo-" + n }

// makeAccounts gives every user a password: demo-<number> on loopback, else a random one, kept from start to start.
func (l *lab) makeAccounts() error {
	path := filepath.Join(l.state, accountsFile)
	was := readAccounts(path)
	a := &accounts{passwords: map[string]string{}}
	for i := range labOffices {
		for _, n := range numbersOf(i) {
			switch kept := was[n]; {
			case l.addr == loopback:
				a.passwords[n] = demoPassword(n)
			case kept != "" && kept != demoPassword(n):
				a.passwords[n] = kept
			default:
				a.passwords[n] = generate()
			}
			a.changed = a.changed || a.passwords[n] != was[n]
		}
	}
	l.accounts = a
	if err := os.MkdirAll(l.state, 0o700); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(path, []byte(l.accountsText()), 0o600)
}

// accountsText is accounts.txt: number, name, public number, domain, proxy of each office it works at, password.
func (l *lab) accountsText() string {
	var b strings.Builder
	b.WriteString("# every account of siproam up; each works at every office\n#")
	for i, o := range labOffices {
		fmt.Fprintf(&b, "   %s %s", o, l.proxy(i))
	}
	b.WriteString("\n# user  name   number        domain         password\n")
	for i := range labOffices {
		for _, n := range numbersOf(i) {
			fmt.Fprintf(&b, "%s    %-6s %s  %-14s %s\n", n, orDash(labPeople[n]), "+1555000"+n, domain(i), l.accounts.passwords[n])
		}
	}
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// readAccounts reads number and password, the first and the last word of a line.
func readAccounts(path string) map[string]string {
	was := map[string]string{}
	b, err := os.ReadFile(path)
	if err != nil {
		return was
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && !strings.HasPrefix(f[0], "#") {
			was[f[0]] = f[len(f)-1]
		}
	}
	return was
}
