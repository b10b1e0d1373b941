package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Whatever lists something lists it for programs too.
func TestListsHaveJSON(t *testing.T) {
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
	walk("miner-devnet", app().Commands)
	if lists < 2 {
		t.Errorf("only %d commands list anything", lists)
	}
}
