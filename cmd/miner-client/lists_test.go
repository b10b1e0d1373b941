package main

import (
	"testing"

	"github.com/urfave/cli/v2"

	"quarry/internal/clitest"
)

func TestListsHaveJSON(t *testing.T) { clitest.ListsHaveJSON(t, newApp(nil), 2) }

// Every command refuses what it does not know.
func TestLinesAreUnderstoodWhole(t *testing.T) {
	clitest.Tree(t, func() *cli.App { return newApp(nil) }, 11)
}
