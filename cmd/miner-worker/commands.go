package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/internal/command"
	"quarry/node/repo"
	"quarry/storage/paths"
)

func stopCommand() *cli.Command {
	return &cli.Command{Name: "stop", Usage: "stop the worker; its tasks go to others", Action: func(c *cli.Context) error {
		w, err := dialSelf(c)
		if err != nil {
			return err
		}
		defer w.Close()
		return w.Shutdown(c.Context)
	}}
}

func infoCommand() *cli.Command {
	return &cli.Command{Name: "info", Usage: "show what this worker offers", Flags: []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			w, err := dialSelf(c)
			if err != nil {
				return err
			}
			defer w.Close()
			list, err := w.WorkerList(c.Context)
			if err != nil {
				return err
			}
			stored, err := w.StorageList(c.Context)
			if err != nil {
				return err
			}
			if c.Bool(flagJSON) {
				return printJSON(c.App.Writer, map[string]any{"Worker": list[0], "Storage": stored})
			}
			printInfo(c, list[0], stored)
			return nil
		}}
}

func printInfo(c *cli.Context, w api.WorkerStatus, stored []api.StoragePath) {
	out := c.App.Writer
	fmt.Fprintf(out, "Worker   %s (%s)\n", w.ID, w.Hostname)
	fmt.Fprintf(out, "Session  %s\n", w.Session)
	fmt.Fprintf(out, "Tasks    %v, %d running\n", w.TaskTypes, len(w.Running))
	fmt.Fprintf(out, "CPUs     %d\nMemory   %s\nURL      %s\n", w.CPUs, humanize.IBytes(w.MemBytes), w.URL)
	if dialled, err := dialMiner(c); err == nil {
		defer dialled.Close()
		fmt.Fprintf(out, "Private node  %s\n", seen(c.Context, dialled, w.ID))
	}
	for _, p := range stored {
		fmt.Fprintf(out, "Storage  %s weight %d seal=%t store=%t free %s %s\n",
			p.ID, p.Weight, p.CanSeal, p.CanStore, humanize.IBytes(uint64(max(p.Stat.Available, 0))), p.HeartbeatErr)
	}
	if len(stored) == 0 {
		fmt.Fprintln(out, "Storage  none: no tasks come; add some with `miner-worker storage attach --init --seal DIRECTORY`")
	}
}

// seen tells what the private node knows of the worker.
func seen(ctx context.Context, miner interface {
	WorkerList(ctx context.Context) ([]api.WorkerStatus, error)
}, id api.UUID) string {
	list, err := miner.WorkerList(ctx)
	if err != nil {
		return err.Error()
	}
	for _, w := range list {
		if w.ID == id {
			return "heard of us " + time.Since(w.LastSeen).Round(time.Second).String() + " ago"
		}
	}
	return "does not know us"
}

func tasksCommand() *cli.Command {
	return &cli.Command{Name: "tasks", Usage: "list the tasks this worker does now", Flags: []cli.Flag{jsonFlag}, Action: listTasks}
}

func listTasks(c *cli.Context) error {
	w, err := dialSelf(c)
	if err != nil {
		return err
	}
	defer w.Close()
	list, err := w.WorkerList(c.Context)
	if err != nil {
		return err
	}
	if c.Bool(flagJSON) {
		return printJSON(c.App.Writer, append([]api.TaskStatus{}, list[0].Running...))
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "Task\tType\tSector\tStage\tDone\tAttempt")
	for _, s := range list[0].Running {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0f%%\t%d\n", s.ID, s.Spec.Type, s.Spec.Sector, s.Stage, s.Percent, s.Attempts)
	}
	return t.Flush()
}

func storageCommand() *cli.Command {
	return &cli.Command{Name: "storage", Usage: "directories of this worker", Subcommands: []*cli.Command{{
		Name:      "attach",
		Usage:     "attach a directory",
		ArgsUsage: "DIRECTORY",
		Action:    attach,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "init", Usage: "make the directory a storage path first"},
			&cli.Uint64Flag{Name: "weight", Value: 10, Usage: "(with --init) preference for new files; 0 = none"},
			&cli.BoolFlag{Name: "seal", Usage: "(with --init) use it for sealing"},
			&cli.BoolFlag{Name: "store", Usage: "(with --init) use it for keeping sealed sectors"},
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: "max-storage",
				Usage: "(with --init) use no more than this, for example 10TiB"}, Least: 1},
		},
	}}}
}

// attach adds a directory to the running worker, or, when none runs, to the list
// it reads at its start.
func attach(c *cli.Context) error {
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
		if err := initDir(c, dir); err != nil {
			return err
		}
	}
	if _, err := paths.ReadMeta(dir); err != nil {
		return err
	}
	if w, err := dialSelf(c); err == nil {
		defer w.Close()
		err := w.StorageAddLocal(c.Context, dir)
		var away *api.ErrUnreachable
		if !errors.As(err, &away) {
			return err
		}
	}
	return attachOffline(c, dir)
}

func initDir(c *cli.Context, dir string) error {
	most, err := command.Bytes(c, "max-storage")
	if err != nil {
		return err
	}
	m := api.PathMeta{Weight: c.Uint64("weight"), MaxStorage: most, CanSeal: c.Bool("seal"), CanStore: c.Bool("store")}
	if !m.CanSeal && !m.CanStore {
		return errors.New("what is the path for? give --seal, --store or both")
	}
	return paths.InitDir(dir, m)
}

func attachOffline(c *cli.Context, dir string) (err error) {
	r, err := openRepo(c.String(flagRepo))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	local, err := paths.Open(paths.Config{File: filepath.Join(r.Dir(), repo.FileStorage)}, paths.Deps{Index: nobody{}})
	if err != nil {
		return err
	}
	return local.Add(c.Context, dir)
}

// nobody is the index while no worker runs: the worker tells the real one.
type nobody struct{}

func (nobody) StorageAttach(context.Context, api.PathMeta, string, api.FsStat) error { return nil }

func (nobody) StorageDetach(context.Context, api.StorageID, string) error { return nil }

func (nobody) StorageReportHealth(context.Context, api.PathHealth) error {
	return nil
}

func (nobody) StorageDeclareSectors(context.Context, []api.SectorFile) error { return nil }

func (nobody) StorageDropSectors(context.Context, []api.SectorFile) error { return nil }

func (nobody) StorageFindSector(context.Context, abi.SectorID, api.FileType) ([]api.SectorLocationInfo, error) {
	return nil, nil
}
