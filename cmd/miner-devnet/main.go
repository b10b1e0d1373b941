package main

import (
	"context"
	"os"

	"github.com/urfave/cli/v2"

	"quarry/build"
	"quarry/internal/interrupt"
	"quarry/internal/printable"
)

func main() {
	os.Exit(interrupt.Main(func(ctx context.Context) error { return app().RunContext(ctx, os.Args) }))
}

func app() *cli.App {
	return &cli.App{
		Name: "miner-devnet", Usage: "an embedded Filecoin full node for development", Version: build.UserVersion(),
		HideHelpCommand: true,
		Writer:          printable.NewWriter(os.Stdout),
		ErrWriter:       printable.NewWriter(os.Stderr),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "repo", EnvVars: []string{"DEVNET_PATH"}, Value: "~/.miner-devnet", Usage: "repo directory"},
		},
		Commands: []*cli.Command{runCmd(), statusCmd(), warpCmd(), walletCmd()},
	}
}
