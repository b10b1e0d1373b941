package clitest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"quarry/internal/command"
)

// Tree walks all commands of a program and fails for each that takes what it does
// not know: a stray argument, a wrong flag, a wrong value, a misspelt name. None of
// its actions is run. newApp makes the program anew; least is how many commands
// there must be.
func Tree(t *testing.T, newApp func() *cli.App, least int) {
	t.Helper()
	all := leaves(newApp())
	if len(all) < least {
		t.Errorf("only %d commands are found, not %d", len(all), least)
	}
	for _, l := range all {
		t.Run(strings.Join(l.words[1:], " "), func(t *testing.T) {
			run := runner(newApp)
			// More arguments than any command names; one that takes any number is
			// told apart by its usage.
			if len(l.command.Subcommands) == 0 && !strings.Contains(l.command.ArgsUsage, "...") {
				run.refused(t, "too many", append(slices.Clone(l.words), "stray-1", "stray-2", "stray-3", "stray-4"), "one too many")
			}
			if len(l.command.Subcommands) == 0 && l.command.ArgsUsage == "" {
				run.refused(t, "a stray argument", append(slices.Clone(l.words), "stray"), `"stray" is one too many`)
			}
			if len(l.command.Subcommands) > 0 {
				run.refused(t, "no command", append(slices.Clone(l.words), "restore", "file"), "has no command \"restore\"")
			}
			run.refused(t, "a wrong flag", append(slices.Clone(l.words), "--no-such-flag"), "has no flag --no-such-flag")
			misspelt := slices.Clone(l.words)
			misspelt[len(misspelt)-1] += "q"
			run.refused(t, "a misspelt command", misspelt, "did you mean `"+l.name()+"`?")
			values(t, run, l)
			run.help(t, l.words)
			if slices.Contains(destroys, l.command.Name) && !hasFlag(l.command, "yes") {
				t.Error("it destroys something and has no --yes")
			}
		})
	}
	Groups(t, newApp)
}

// Groups fails for each group of commands that does something by itself.
func Groups(t *testing.T, newApp func() *cli.App) {
	t.Helper()
	run := runner(newApp)
	run.refused(t, "the program alone", []string{newApp().Name}, "name a command: ")
	for _, c := range newApp().Commands {
		if c.Action == nil {
			run.refused(t, "a group alone", []string{newApp().Name, c.Name}, "name one: ")
		}
	}
}

// values gives every flag that takes a number, a size or a span of time something
// else.
func values(t *testing.T, run runner, l leaf) {
	for _, f := range l.command.Flags {
		name := f.Names()[0]
		switch f := f.(type) {
		case *cli.IntFlag, *cli.Int64Flag, *cli.UintFlag, *cli.Uint64Flag, *cli.DurationFlag, *command.SizeFlag, *cli.BoolFlag:
			run.refused(t, "--"+name, append(slices.Clone(l.words), "--"+name+"=much"), "--"+name+` "much": it is`)
		case *cli.StringFlag:
			if strings.HasSuffix(name, "-size") || strings.HasSuffix(name, "memory") || strings.HasSuffix(name, "-storage") {
				t.Errorf("--%s is a size and no SizeFlag (%s)", name, f.Usage)
			}
		}
	}
}

type runner func() *cli.App

// refused runs a line that must be refused, with want in the reason, without any
// action and without a word among the results.
func (r runner) refused(t *testing.T, what string, words []string, want string) {
	t.Helper()
	var out bytes.Buffer
	ran := ""
	app := r()
	app.Writer = &out
	for _, l := range leaves(app) {
		l.command.Action = func(*cli.Context) error { ran = l.name(); return nil }
	}
	err := command.Run(context.Background(), app, words)
	var usage *command.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || ran != "" || out.Len() > 0 {
		t.Errorf("%s: %v\nwant %s; ran %q, printed %q", what, err, want, ran, out.String())
	}
}

// help prints to the results and runs nothing.
func (r runner) help(t *testing.T, words []string) {
	t.Helper()
	var out bytes.Buffer
	app := r()
	app.Writer = &out
	err := command.Run(context.Background(), app, append(slices.Clone(words), "--help"))
	if err != nil || !strings.Contains(out.String(), strings.Join(words, " ")) {
		t.Errorf("--help: %v, printed %q", err, out.String())
	}
}
