package main

import (
	"encoding/json"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"quarry/build"
	"quarry/internal/command"
	"quarry/internal/printable"
)

func main() {
	os.Exit(command.Main(newApp(os.Stdout)))
}

// Flag names used in several places.
const (
	flagRepo      = "worker-repo"
	flagMinerInfo = "miner-api-info"
	flagMinerRepo = "miner-repo"
	flagJSON      = "json"
	flagParents   = "parent-cache"
)

func newApp(out io.Writer) *cli.App {
	return &cli.App{
		Name:      "miner-worker",
		Usage:     "sealing worker of a Filecoin storage provider",
		Version:   build.UserVersion(),
		Writer:    printable.NewWriter(out), // strangers wrote parts of what is shown
		ErrWriter: printable.NewWriter(os.Stderr),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: flagRepo, EnvVars: []string{"WORKER_PATH", "LOTUS_WORKER_PATH"}, Value: "~/.minerworker",
				Usage: "repo of this worker"},
			&cli.StringFlag{Name: flagMinerInfo, Usage: "@FILE with TOKEN:ADDRESS of the private node, or that itself " +
				"(default: MINER_API_INFO); the token needs the role worker"},
			&cli.StringFlag{Name: flagMinerRepo, EnvVars: []string{"MINER_PATH", "LOTUS_MINER_PATH"},
				Usage: "repo of a private node on this machine, instead of --" + flagMinerInfo},
		},
		Commands: []*cli.Command{runCommand(), stopCommand(), infoCommand(), tasksCommand(), storageCommand(), paramsCommand(),
			benchCommand()},
	}
}

var jsonFlag = &cli.BoolFlag{Name: flagJSON, Usage: "print JSON"}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
