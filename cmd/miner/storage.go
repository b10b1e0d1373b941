package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/node/repo"
	"quarry/storage/paths"
)

func storageCommand() *cli.Command {
	return &cli.Command{
		Name: "storage", Usage: "storage paths, workers and tasks of the private node",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list attached paths", Flags: []cli.Flag{jsonFlag}, Action: listPaths},
			{Name: "attach", Usage: "attach a directory", ArgsUsage: "DIRECTORY", Action: attachPath, Flags: []cli.Flag{
				&cli.BoolFlag{Name: "init", Usage: "make the directory a storage path first"},
				&cli.Uint64Flag{Name: "weight", Value: 10, Usage: "preference for new files; 0 = none"},
				&cli.BoolFlag{Name: "seal", Usage: "(with --init) use it for sealing"},
				&cli.BoolFlag{Name: "store", Usage: "(with --init) use it for keeping sealed sectors"},
				&cli.StringFlag{Name: "max-storage", Usage: "(with --init) use no more than this, for example 10TiB"},
			}},
			{Name: "workers", Usage: "list workers", Flags: []cli.Flag{jsonFlag}, Action: listWorkers},
			{Name: "tasks", Usage: "list tasks", Flags: []cli.Flag{jsonFlag}, Action: listTasks},
		},
	}
}

func listPaths(c *cli.Context) error {
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.StorageList(c.Context)
	if err != nil {
		return err
	}
	return show(c, list, func(w io.Writer) {
		t := newTable(w, "ID", "Use", "Weight", "Free", "Of", "Heartbeat", "URLs", "Note")
		for _, p := range list {
			use := ""
			if p.CanSeal {
				use += "seal "
			}
			if p.CanStore {
				use += "store"
			}
			t.AppendRow([]any{p.ID, use, p.Weight, humanize.IBytes(uint64(max(p.Stat.Available, 0))), humanize.IBytes(uint64(max(p.Stat.Capacity, 0))),
				time.Since(p.LastHeartbeat).Round(time.Second), p.URLs, p.HeartbeatErr})
		}
		t.Render()
	})
}

func attachPath(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("name one directory")
	}
	dir, err := repo.Expand(c.Args().First())
	if err != nil {
		return err
	}
	if c.Bool("init") {
		meta := api.PathMeta{ID: api.StorageID(uuid.NewString()), Weight: c.Uint64("weight"), CanSeal: c.Bool("seal"), CanStore: c.Bool("store")}
		if !meta.CanSeal && !meta.CanStore {
			return errors.New("a path must be for something: add --seal, --store or both")
		}
		if s := c.String("max-storage"); s != "" {
			if meta.MaxStorage, err = humanize.ParseBytes(s); err != nil {
				return fmt.Errorf("--max-storage: %w", err)
			}
		}
		if err := paths.InitDir(dir, meta); err != nil {
			return err
		}
	}
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	return n.StorageAddLocal(c.Context, dir)
}
