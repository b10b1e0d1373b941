package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"quarry/build"
	"quarry/internal/interrupt"
	"quarry/internal/printable"
)

func main() {
	os.Exit(interrupt.Main(func(ctx context.Context) error { return newApp(os.Stdout).RunContext(ctx, os.Args) }))
}

// Flag names used in several places.
const (
	flagMinerRepo   = "miner-repo"
	flagMarketsRepo = "markets-repo"
	flagOnMarkets   = "call-on-markets"
	flagJSON        = "json"
)

func newApp(out io.Writer) *cli.App {
	return &cli.App{
		Name:      "miner",
		Usage:     "a Filecoin storage provider: mining, sealing, sector storage, markets",
		Version:   build.Version,
		Writer:    printable.NewWriter(out), // strangers wrote parts of what is shown
		ErrWriter: printable.NewWriter(os.Stderr),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: flagMinerRepo, EnvVars: []string{"MINER_PATH", "LOTUS_MINER_PATH"}, Value: "~/.miner", Usage: "repo of the miner process"},
			&cli.StringFlag{Name: flagMarketsRepo, EnvVars: []string{"MARKETS_PATH", "LOTUS_MARKETS_PATH"}, Usage: "repo of the markets process, where it is another one"},
			&cli.BoolFlag{Name: flagOnMarkets, Usage: "send common commands (auth, net, version, stop, ...) to the markets process"},
		},
		Commands: []*cli.Command{
			initCommand(), runCommand(), stopCommand(), infoCommand(), versionCommand(), waitAPICommand(),
			authCommand(), netCommand(), sectorsCommand(), sealingCommand(), storageCommand(), provingCommand(),
			dealsCommand(), configCommand(),
		},
		CommandNotFound: func(c *cli.Context, name string) {
			fmt.Fprintf(printable.NewWriter(os.Stderr), "error: no command %q; `miner help` lists them\n", name)
			os.Exit(1)
		},
	}
}

var jsonFlag = &cli.BoolFlag{Name: flagJSON, Usage: "print JSON"}
