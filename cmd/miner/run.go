package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"

	"quarry/internal/interrupt"
	"quarry/node"
	"quarry/node/config"
	"quarry/node/repo"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run the node of --miner-repo",
		Flags: []cli.Flag{&cli.StringFlag{Name: "log-level", Value: "info", Usage: "debug, info, warn or error"}},
		Action: func(c *cli.Context) error {
			dir, err := repo.Expand(c.String(flagMinerRepo))
			if err != nil {
				return err
			}
			level := new(slog.LevelVar)
			if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
				return fmt.Errorf("--log-level %q is none of debug, info, warn, error", c.String("log-level"))
			}
			full, err := fullNodeInfo()
			if err != nil {
				return err
			}
			set, err := node.LoadSettings(dir, os.Environ())
			if err != nil {
				return err
			}
			set.FullNodeInfo, set.Level, set.Log = full, level, newLogger(os.Stderr, level)
			slog.SetDefault(set.Log)
			interrupt.OutliveReaders()
			return node.Run(c.Context, set)
		},
	}
}

func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	if level == nil {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

func configCommand() *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "the config file",
		Subcommands: []*cli.Command{
			{Name: "default", Usage: "print every key with its default and meaning", Action: func(c *cli.Context) error {
				_, err := io.WriteString(c.App.Writer, config.Sample())
				return err
			}},
		},
	}
}
