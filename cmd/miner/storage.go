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
	"quarry/internal/command"
	"quarry/node/repo"
	"quarry/storage/paths"
)

func storageCommand() *cli.Command {
	return &cli.Command{
		Name: "storage", Usage: "storage paths, workers and tasks of the private node",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list attached paths", Flags: []cli.Flag{jsonFlag}, Action: listPaths},
			{
				Name:      "attach",
				Usage:     "attach a directory",
				ArgsUsage: "DIRECTORY",
				Action:    attachPath,
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "init", Usage: "make the directory a storage path first"},
					&cli.Uint64Flag{Name: "weight", Value: 10, Usage: "(with --init) preference for new files; 0 = none"},
					&cli.BoolFlag{Name: "seal", Usage: "(with --init) use it for sealing"},
					&cli.BoolFlag{Name: "store", Usage: "(with --init) use it for keeping sealed sectors"},
					&command.SizeFlag{StringFlag: cli.StringFlag{Name: "max-storage",
						Usage: "(with --init) use no more than this, for example 10TiB"}, Least: 1},
				},
			},
			{
				Name:      "detach",
				Usage:     "detach a path from the process that is asked; its files stay",
				ArgsUsage: "ID",
				Action:    detachPath,
				Flags:     []cli.Flag{command.YesFlag()},
			},
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
			t.AppendRow([]any{
				p.ID,
				use,
				p.Weight,
				humanize.IBytes(uint64(max(p.Stat.Available, 0))),
				humanize.IBytes(uint64(max(p.Stat.Capacity, 0))),
				heartbeat(p),
				p.URLs,
				pathNote(p),
			})
		}
		t.Render()
	})
}

func attachPath(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("name one directory")
	}
	if err := command.OnlyWith(c, "init", "seal", "store", "weight", "max-storage"); err != nil {
		return err
	}
	dir, err := repo.Expand(c.Args().First())
	if err != nil {
		return err
	}
	if c.Bool("init") {
		meta := api.PathMeta{
			ID:       api.StorageID(uuid.NewString()),
			Weight:   c.Uint64("weight"),
			CanSeal:  c.Bool("seal"),
			CanStore: c.Bool("store"),
		}
		if !meta.CanSeal && !meta.CanStore {
			return errors.New("a path must be for something: add --seal, --store or both")
		}
		if meta.MaxStorage, err = command.Bytes(c, "max-storage"); err != nil {
			return err
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

// heartbeat is how long ago a path was heard of; nothing for one that never was.
func heartbeat(p api.StoragePath) string {
	if p.LastHeartbeat.IsZero() {
		return ""
	}
	return time.Since(p.LastHeartbeat).Round(time.Second).String()
}

// pathNote is what is wrong with a path.
func pathNote(p api.StoragePath) string {
	switch {
	case p.HeartbeatErr != "":
		return "NOT USABLE: " + p.HeartbeatErr
	case p.Stat.Unwritable != "":
		return "READ ONLY: " + p.Stat.Unwritable
	}
	return ""
}

func detachPath(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("name one path by its ID; `miner storage list` prints them")
	}
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	id := api.StorageID(c.Args().First())
	if err := command.Confirm(c, "would detach path %s: what is on it cannot be proven or read before it is attached again",
		id); err != nil {
		return err
	}
	if err := n.StorageDetachLocal(c.Context, id); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "path %s is detached; its files are where they were\n", id)
	return err
}
