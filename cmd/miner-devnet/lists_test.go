package main

import (
	"strings"
	"testing"

	"quarry/internal/clitest"
	"quarry/internal/command"
)

func TestListsHaveJSON(t *testing.T) { clitest.ListsHaveJSON(t, app(), 2) }

// Every command refuses what it does not know.
func TestLinesAreUnderstoodWhole(t *testing.T) { clitest.Tree(t, app, 9) }

// Mistakes are named before anything is made or asked.
func TestMistakesAreNamed(t *testing.T) {
	t.Setenv("FULLNODE_API_INFO", "nobody.no.where:/ip4/127.0.0.1/tcp/1/http")
	dir := t.TempDir()
	t.Setenv("DEVNET_PATH", dir+"/repo")
	for text, want := range map[string]string{
		"run --sector-size 4KiB":       `--sector-size "4KiB": the devnet knows 2KiB and 8MiB`,
		"run --sector-size 8M":         `--sector-size "8M": say which: 8MiB`,
		"run --pace -1s":               `--pace "-1s": it is negative`,
		"run --genesis-sectors -1":     "--genesis-sectors -1 is negative",
		"run --idle-epochs=-3":         "--idle-epochs -3 is negative",
		"run --log-level loud":         `--log-level "loud" is none of debug`,
		"warp":                         "want one argument, the number of epochs",
		"warp soon":                    "want one argument, the number of epochs",
		"warp -5":                      "want one argument, the number of epochs",
		"warp 0":                       "want one argument, the number of epochs",
		"warp 5 6":                     `"6" is one too many`,
		"wallet export":                "name one address",
		"wallet export x":              `address "x"`,
		"wallet send f01 2 3":          `"3" is one too many`,
		"wallet send f01 much":         `amount "much"`,
		"wallet import " + dir:         "read key: " + dir + " is a directory",
		"wallet import /dev/zero":      "read key: /dev/zero is a character device",
		"wallet lst":                   "did you mean `miner-devnet wallet list`?",
		"status --repo " + dir + "/no": "holds no repo",
	} {
		err := command.Run(t.Context(), app(), append([]string{"miner-devnet"}, strings.Fields(text)...))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}
