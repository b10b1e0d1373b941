package clitest

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// destroys are the names of commands that give something up for good.
var destroys = []string{"remove", "delete", "detach", "revoke", "abort-upgrade", "terminate", "forget", "reset"}

// ListsHaveJSON fails for every command that lists something and has no --json:
// whatever lists something lists it for programs too. least is how many such
// commands there must be, so that a search that finds nothing is not success.
func ListsHaveJSON(t *testing.T, app *cli.App, least int) {
	t.Helper()
	lists := 0
	for _, l := range leaves(app) {
		c := l.command
		if !strings.HasPrefix(c.Usage, "list ") && !slices.Contains([]string{"list", "info", "status"}, c.Name) {
			continue
		}
		lists++
		if !hasFlag(c, "json") {
			t.Errorf("%s has no --json", l.name())
		}
	}
	if lists < least {
		t.Errorf("only %d commands list anything, not %d", lists, least)
	}
}

// leaf is a command that can be run, with the words that lead to it.
type leaf struct {
	words   []string // the first is the program
	command *cli.Command
}

func (l leaf) name() string { return strings.Join(l.words, " ") }

func leaves(app *cli.App) (out []leaf) {
	var walk func(words []string, all []*cli.Command)
	walk = func(words []string, all []*cli.Command) {
		for _, c := range all {
			here := append(slices.Clone(words), c.Name)
			walk(here, c.Subcommands)
			if c.Action != nil {
				out = append(out, leaf{here, c})
			}
		}
	}
	walk([]string{app.Name}, app.Commands)
	return out
}

func hasFlag(c *cli.Command, name string) bool {
	return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}
