package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"quarry/build"
	"quarry/internal/command"
	"quarry/internal/printable"
)

func main() {
	os.Exit(command.Main(app()))
}

func app() *cli.App {
	return &cli.App{
		Name:      "miner-devnet",
		Usage:     "an embedded Filecoin full node for development",
		Version:   build.UserVersion(),
		Writer:    printable.NewWriter(os.Stdout),
		ErrWriter: printable.NewWriter(os.Stderr),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "repo", EnvVars: []string{"DEVNET_PATH"}, Value: "~/.miner-devnet", Usage: "repo directory"},
		},
		Commands: []*cli.Command{runCmd(), statusCmd(), warpCmd(), walletCmd()},
	}
}
