// Command miner-devnet is an embedded Filecoin full node for development: real
// chain, official actors, real proofs, epochs of 100 ms.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"quarry/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := app().RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1)
	}
}

func app() *cli.App {
	return &cli.App{
		Name: "miner-devnet", Usage: "an embedded Filecoin full node for development", Version: build.UserVersion(),
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "repo", EnvVars: []string{"DEVNET_PATH"}, Value: "~/.miner-devnet", Usage: "repo directory"},
		},
		Commands: []*cli.Command{runCmd(), statusCmd(), warpCmd(), walletCmd()},
	}
}
