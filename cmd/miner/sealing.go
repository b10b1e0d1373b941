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
	"quarry/api/client"
)

func sealingCommand() *cli.Command {
	return &cli.Command{
		Name: "sealing", Usage: "work on sectors: what runs, what waits and for what, and who does it",
		Subcommands: []*cli.Command{
			{Name: "jobs", Usage: "list tasks", Action: listTasks, Flags: []cli.Flag{
				jsonFlag,
				&cli.StringSliceFlag{Name: "state", Usage: "only tasks in this state: queued, running, done or failed; may be repeated"},
				&cli.StringSliceFlag{Name: "type", Usage: "only tasks of this type, for example PC1; may be repeated"},
			}},
			{Name: "workers", Usage: "list workers", Flags: []cli.Flag{jsonFlag}, Action: listWorkers},
			{Name: "abort", Usage: "take a running task from its worker and queue it again; what was computed stays with the worker",
				ArgsUsage: "TASK", Action: abortTask},
			{Name: "retry", Usage: "try a waiting task at once, whatever delay it was given", ArgsUsage: "TASK", Action: retryTask},
		},
	}
}

func listWorkers(c *cli.Context) error {
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.WorkerList(c.Context)
	if err != nil {
		return err
	}
	return show(c, list, func(w io.Writer) {
		t := newTable(w, "Worker", "Host", "Tasks", "CPUs", "Memory", "Last seen", "Running")
		for _, k := range list {
			seen := time.Since(k.LastSeen).Round(time.Second)
			t.AppendRow([]any{k.ID, k.Hostname, k.TaskTypes, k.CPUs, humanize.IBytes(k.MemBytes), seen, len(k.Running)})
		}
		t.Render()
	})
}

func listTasks(c *cli.Context) error {
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	q := api.TaskQuery{Limit: pageSize}
	for _, name := range c.StringSlice("state") {
		q.States = append(q.States, api.TaskState(name))
	}
	for _, name := range c.StringSlice("type") {
		q.Types = append(q.Types, api.TaskType(name))
	}
	return stream(c, listing[api.TaskStatus]{
		header: []any{"Task", "Type", "Sector", "State", "Worker", "Progress", "Note"},
		row: func(k api.TaskStatus) []any {
			progress := fmt.Sprintf("%s %.0f%%", k.Stage, k.Percent)
			return []any{k.ID, k.Spec.Type, sectorOf(k.Spec.Sector.ID), k.State, k.Worker, progress, taskNote(k)}
		},
		page: func(cursor string) ([]api.TaskStatus, string, error) {
			q.Cursor = cursor
			page, err := n.TaskQuery(c.Context, q)
			return page.Tasks, page.Next, err
		},
	})
}

// taskNote is why a task waits, and what went wrong with it last.
func taskNote(t api.TaskStatus) string {
	note := t.Waiting
	if t.Failure != nil && note != "" {
		note += "; before: "
	}
	if t.Failure != nil {
		note += t.Failure.Text
	}
	return note
}

func abortTask(c *cli.Context) error {
	return onTask(c, "is queued again", func(n *client.MinerAPI, id api.UUID) error { return n.TaskAbort(c.Context, id) })
}

func retryTask(c *cli.Context) error {
	return onTask(c, "is tried as soon as a worker takes it", func(n *client.MinerAPI, id api.UUID) error {
		return n.TaskRetry(c.Context, id)
	})
}

// onTask does something with the task whose ID is the argument.
func onTask(c *cli.Context, done string, act func(*client.MinerAPI, api.UUID) error) error {
	if c.NArg() != 1 {
		return errors.New("name one task; `miner sealing jobs` prints them")
	}
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	id, err := uuid.Parse(c.Args().First())
	if err != nil {
		return fmt.Errorf("%q is not the ID of a task; `miner sealing jobs` prints them", c.Args().First())
	}
	if err := act(n, id); err != nil {
		return err
	}
	st, err := n.TaskGet(c.Context, id)
	if err != nil {
		return err
	}
	if st.State != api.TaskQueued {
		_, err = fmt.Fprintf(c.App.Writer, "task %s is left alone: it is %s\n", st.Spec.Key, st.State)
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "task %s %s\n", st.Spec.Key, done)
	return err
}
