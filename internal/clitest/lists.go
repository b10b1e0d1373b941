package clitest

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// ListsHaveJSON fails for every command that lists something and has no --json:
// whatever lists something lists it for programs too. least is how many such
// commands there must be, so that a search that finds nothing is not success.
func ListsHaveJSON(t *testing.T, app *cli.App, least int) {
	t.Helper()
	lists := 0
	var walk func(path string, all []*cli.Command)
	walk = func(path string, all []*cli.Command) {
		for _, c := range all {
			name := path + " " + c.Name
			walk(name, c.Subcommands)
			if !strings.HasPrefix(c.Usage, "list ") && !slices.Contains([]string{"list", "info", "status"}, c.Name) {
				continue
			}
			lists++
			if !slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), "json") }) {
				t.Errorf("%s has no --json", name)
			}
		}
	}
	walk(app.Name, app.Commands)
	if lists < least {
		t.Errorf("only %d commands list anything, not %d", lists, least)
	}
}
