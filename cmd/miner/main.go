package main

import (
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"quarry/build"
	"quarry/internal/command"
)

func main() {
	os.Exit(command.Main(newApp(os.Stdout)))
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
		Name:    "miner",
		Usage:   "a Filecoin storage provider: mining, sealing, sector storage, markets",
		Version: build.Version,
		Writer:  out,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: flagMinerRepo, EnvVars: []string{"MINER_PATH", "LOTUS_MINER_PATH"}, Value: "~/.miner",
				Usage: "repo of the miner process"},
			&cli.StringFlag{Name: flagMarketsRepo, EnvVars: []string{"MARKETS_PATH", "LOTUS_MARKETS_PATH"},
				Usage: "repo of the markets process, where it is another one"},
			&cli.BoolFlag{Name: flagOnMarkets, Usage: "send common commands (auth, net, version, stop, ...) to the markets process"},
		},
		Commands: []*cli.Command{
			initCommand(), runCommand(), stopCommand(), infoCommand(), versionCommand(), waitAPICommand(),
			authCommand(), netCommand(), sectorsCommand(), sealingCommand(), storageCommand(), provingCommand(),
			dealsCommand(), actorCommand(), configCommand(),
		},
	}
}

var jsonFlag = &cli.BoolFlag{Name: flagJSON, Usage: "print JSON"}
