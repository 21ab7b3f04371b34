// Package cli is the commands, one file each. They reach a running office over its control socket.
//
// What a command was asked for goes to stdout, as text or with -o json; everything else, logs included, to
// stderr. Passwords are read from a terminal without echo or from stdin, never from an argument.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/siproam/siproam/config"
	"github.com/siproam/siproam/office"
)

// Version is set when a release is built.
var Version = "0.1.0"

// commands is the whole command line.
type commands struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"Answer as text or json."`

	Up          up           `cmd:"" help:"Run three offices on this machine: the way to try siproam."`
	Demo        demo         `cmd:"" help:"Show a roaming number with built-in phones, 20 seconds, nothing needed."`
	Serve       serve        `cmd:"" help:"Run one office."`
	RouteSrv    routeService `cmd:"" name:"routesrv" help:"The routing service by itself: a SIP redirect server, an HTTP view, or the embedded store for a network."`
	Key         key          `cmd:"" help:"Print the public key by which others check what an office says of its users."`
	Init        initialise   `cmd:"" help:"Print a commented office.yaml."`
	Check       check        `cmd:"" help:"Find every mistake of an office.yaml, with its line."`
	User        users        `cmd:"" help:"Manage the accounts of a running office."`
	Phones      phones       `cmd:"" help:"Manage the phones to which an office gives their settings."`
	Where       where        `cmd:"" help:"Say where a user is, or where everybody is. Exit code 3: offline, 4: unknown."`
	Explain     explain      `cmd:"" help:"Say why a user is where he is, and what a call would do now."`
	Moves       moves        `cmd:"" help:"List the last moves of a user, newest first."`
	Release     release      `cmd:"" help:"End the registrations of a user; a phone that lives comes back by itself."`
	Resync      resync       `cmd:"" help:"Compare the routing store with our users and write again what is missing."`
	Leases      leases       `cmd:"" help:"List the addresses that the DHCP server has given: whose, where, until when, and who is registered from there."`
	Calls       calls        `cmd:"" help:"List calls in progress, or show one."`
	Hangup      hangup       `cmd:"" help:"End a call."`
	CDR         cdr          `cmd:"" name:"cdr" help:"List charging records, newest first."`
	Trace       trace        `cmd:"" help:"Show SIP as it happens, as a ladder; credentials are masked."`
	Log         logs         `cmd:"" help:"Show or change what is logged."`
	Reload      reload       `cmd:"" help:"Take a changed configuration without dropping a call."`
	Healthcheck healthcheck  `cmd:"" help:"Exit with 0 while phones are served."`
	Version     version      `cmd:"" help:"Print the version."`
}

// env is what a command runs in.
type env struct {
	ctx            context.Context // ends at the first SIGINT or SIGTERM
	in             io.Reader
	stdout, stderr io.Writer
	json           bool
	example        string // office.example.yaml
}

// exit is an error that ends the program with a code of its own.
type exit struct {
	code int
	err  error // nil: what was to be said has been said
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// misuse is a mistake in how a command was called.
func misuse(format string, args ...any) error {
	return &exit{office.ExitUsage, fmt.Errorf(format, args...)}
}

// Main runs one command and gives its exit code: 0 done, 1 failure, 2 usage or configuration, 3 offline, 4 unknown
// user. example is the commented office.yaml that init prints.
func Main(args []string, example string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	return run(&env{ctx: ctx, in: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, example: example}, args)
}

// over is how kong's --help ends the parsing.
type over int

// run parses args and runs the command.
func run(e *env, args []string) (code int) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case over:
			code = int(v)
		default:
			panic(v)
		}
	}()
	var c commands
	p, err := kong.New(&c, kong.Name("siproam"), kong.Description("One telephone number that works in every office."),
		kong.Writers(e.stdout, e.stderr), kong.Exit(func(code int) { panic(over(code)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}))
	if err != nil {
		panic(err) // our own struct is wrong; a test parses it
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := p.Parse(args)
	if err != nil {
		fmt.Fprintf(e.stderr, "siproam: %v\n", err)
		return office.ExitUsage
	}
	e.json = c.Output == "json"
	return e.ended(k.Run(e))
}

// ended says what went wrong, if something did, and gives the exit code.
func (e *env) ended(err error) int {
	if err == nil {
		return 0
	}
	code := office.ExitFailure
	var x *exit
	var r *office.Refusal
	var m *config.Mistake
	switch {
	case errors.As(err, &x):
		code = x.code
		if x.err == nil {
			return code
		}
	case errors.As(err, &r):
		code = r.Exit
	case errors.As(err, &m):
		code = office.ExitUsage
	}
	text := err.Error()
	if m == nil {
		text = "siproam: " + strings.TrimSpace(text)
	}
	fmt.Fprintln(e.stderr, text)
	return code
}
