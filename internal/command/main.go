package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"quarry/internal/interrupt"
	"quarry/internal/printable"
)

// Exit codes of every command.
const (
	ExitDone   = 0 // it was done
	ExitFailed = 1 // it was tried and failed
	ExitAct    = 2 // nothing was done, or something was found: the operator must act
)

// Main runs the process's command line under a context that ends with the first
// signal, prints what went wrong to standard error and returns the exit code.
func Main(app *cli.App) int {
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	return Report(printable.NewWriter(os.Stderr), Run(ctx, app, os.Args))
}

// Report prints an error, with the usage where the line was not understood, and
// returns the exit code for it.
func Report(w io.Writer, err error) int {
	var usage *UsageError
	var act *ActError
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &usage):
		fmt.Fprintf(w, "error: %s\n%s", err, usage.Usage)
		return ExitAct
	case errors.As(err, &act):
		fmt.Fprintf(w, "%s\n", err)
		return ExitAct
	}
	fmt.Fprintln(w, "error:", err)
	return ExitFailed
}

// UsageError says that a line was not understood. Nothing was done.
type UsageError struct {
	Reason string
	Usage  string // of the command, lines to print below the reason
}

func (e *UsageError) Error() string { return e.Reason }

// ActError says that a command did what it should and found what needs a person.
type ActError struct{ Reason string }

func (e *ActError) Error() string { return e.Reason }

// Run understands args, the first of which is the program's name, and runs the
// command they name. Errors: *UsageError, and the command's own.
func Run(ctx context.Context, app *cli.App, args []string) error {
	prepare(app)
	l, err := parse(app, args)
	if err != nil {
		return err
	}
	typed := map[string]bool{}
	for _, f := range l.flags {
		typed[f.flag.Names()[0]] = true
	}
	return app.RunContext(context.WithValue(ctx, typedKey{}, typed), l.ordered())
}

// OnlyWith refuses flags that have an effect only together with another one, which
// was not given: what they say would be ignored.
func OnlyWith(c *cli.Context, other string, flags ...string) error {
	if c.IsSet(other) && (c.Bool(other) || c.String(other) != "") {
		return nil
	}
	for _, name := range flags {
		if Typed(c, name) {
			return &UsageError{Reason: fmt.Sprintf("--%s has no effect without --%s", name, other), Usage: hint(c.Command.HelpName)}
		}
	}
	return nil
}

// NotWith refuses flags that have no effect beside another one, which was given.
func NotWith(c *cli.Context, other string, flags ...string) error {
	if !Typed(c, other) {
		return nil
	}
	for _, name := range flags {
		if Typed(c, name) {
			return &UsageError{Reason: fmt.Sprintf("--%s has no effect beside --%s; leave one out", name, other),
				Usage: hint(c.Command.HelpName)}
		}
	}
	return nil
}

type typedKey struct{}

// Typed tells whether a flag, by its first name, was written on the command line,
// as opposed to taken from the environment or from its default.
func Typed(c *cli.Context, flag string) bool {
	typed, _ := c.Context.Value(typedKey{}).(map[string]bool)
	return typed[flag]
}

// prepare takes from the library what is decided here: it prints no usage of its
// own, ends no process and knows no commands named help.
func prepare(app *cli.App) {
	app.HideHelpCommand = true
	app.ExitErrHandler = func(*cli.Context, error) {}
	app.OnUsageError = badUsage
	forgetEmpty(app.Flags)
	var walk func([]*cli.Command)
	walk = func(all []*cli.Command) {
		for _, c := range all {
			c.HideHelpCommand = true
			c.OnUsageError = badUsage
			forgetEmpty(c.Flags)
			walk(c.Subcommands)
		}
	}
	walk(app.Commands)
	app.Setup()
}

// forgetEmpty lets a variable that is set to nothing count as one that is not set:
// the library would take the empty text in place of the default.
func forgetEmpty(flags []cli.Flag) {
	empty := func(name string) bool {
		text, set := os.LookupEnv(name)
		return set && text == ""
	}
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars = slices.DeleteFunc(slices.Clone(f.EnvVars), empty)
		case *SizeFlag:
			f.EnvVars = slices.DeleteFunc(slices.Clone(f.EnvVars), empty)
		}
	}
}

// badUsage is for what only the library sees: values from the environment.
func badUsage(c *cli.Context, err error, _ bool) error {
	return &UsageError{Reason: err.Error(), Usage: hint(c.Command.HelpName)}
}

func hint(name string) string { return "`" + name + " --help` says what it takes\n" }
