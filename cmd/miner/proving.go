package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/api/client"
)

func provingCommand() *cli.Command {
	return &cli.Command{
		Name: "proving", Usage: "window PoSt",
		Subcommands: []*cli.Command{
			{Name: "info", Usage: "what is proven and what comes next", Flags: []cli.Flag{jsonFlag}, Action: provingInfo},
			{Name: "recover", Usage: "declare sectors recovered once more that failed after an earlier recovery and were not changed since",
				ArgsUsage: "SECTOR...", Action: provingRecover},
			{Name: "deadlines", Usage: "the 48 deadlines and their sectors", Flags: []cli.Flag{jsonFlag}, Action: provingDeadlines},
			faultsCommand(),
		},
	}
}

// onChain dials the miner for its address and the full node for its state.
func onChain(c *cli.Context, f func(n *client.MinerAPI, ch *client.ChainAPI, maddr address.Address) error) error {
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	a, err := n.ActorAddress(c.Context)
	if err != nil {
		return err
	}
	maddr, err := address.NewFromString(a)
	if err != nil {
		return fmt.Errorf("the miner's address %q: %w", a, err)
	}
	ch, err := dialChain(c.Context)
	if err != nil {
		return err
	}
	defer ch.Close()
	return f(n, ch, maddr)
}

// provingReport is `proving info --json`.
type provingReport struct {
	Miner    string
	Sectors  api.MinerSectors
	Deadline *dline.Info
	Status   api.ProvingStatus
}

func provingInfo(c *cli.Context) error {
	return onChain(c, func(n *client.MinerAPI, ch *client.ChainAPI, maddr address.Address) error {
		r := provingReport{Miner: maddr.String()}
		var err error
		if r.Sectors, err = ch.StateMinerSectorCount(c.Context, maddr, nil); err != nil {
			return err
		}
		if r.Deadline, err = ch.StateMinerProvingDeadline(c.Context, maddr, nil); err != nil {
			return err
		}
		if r.Status, err = n.ProvingStatus(c.Context); err != nil {
			return err
		}
		return show(c, r, func(w io.Writer) {
			fmt.Fprintf(w, "miner:     %s\nsectors:   %d live, %d active, %d faulty\n", r.Miner, r.Sectors.Live, r.Sectors.Active,
				r.Sectors.Faulty)
			fmt.Fprintf(w, "deadline:  %d of %d, epochs %d to %d, now %d\n",
				r.Deadline.Index, r.Deadline.WPoStPeriodDeadlines, r.Deadline.Open, r.Deadline.Close, r.Deadline.CurrentEpoch)
			fmt.Fprintf(w, "accepted:  %d window PoSts (%d failed)\n", r.Status.Accepted, r.Status.Failed)
			for _, a := range r.Status.Alerts {
				fmt.Fprintf(w, "DANGER:    %s\n", a)
			}
			for _, f := range r.Status.Unreadable {
				fmt.Fprintf(w, "unreadable: sector %d: %s\n", f.Sector, f)
			}
			for _, p := range r.Status.Recent {
				fmt.Fprintf(w, "  deadline %d at %d: %d sectors, %d skipped, accepted %v %s\n",
					p.Deadline, p.Open, p.Sectors, len(p.Skipped), p.Accepted, p.Error)
			}
		})
	})
}

func provingRecover(c *cli.Context) error {
	var sectors []abi.SectorNumber
	for _, a := range c.Args().Slice() {
		n, err := strconv.ParseUint(a, 10, 63)
		if err != nil {
			return fmt.Errorf("%q is no sector number", a)
		}
		sectors = append(sectors, abi.SectorNumber(n))
	}
	if len(sectors) == 0 {
		return errors.New("name the sectors, as `miner proving info` shows them")
	}
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.ProvingRetryRecovery(c.Context, sectors); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, "Each that can be read is declared recovered before its next deadline.")
	return err
}

// deadlineRow is one line of `proving deadlines`.
type deadlineRow struct {
	Deadline   int
	Partitions int
	Proven     uint64
	Sectors    uint64
	Faulty     uint64
	Current    bool
}

func provingDeadlines(c *cli.Context) error {
	return onChain(c, func(_ *client.MinerAPI, ch *client.ChainAPI, maddr address.Address) error {
		di, err := ch.StateMinerProvingDeadline(c.Context, maddr, nil)
		if err != nil {
			return err
		}
		deadlines, err := ch.StateMinerDeadlines(c.Context, maddr, nil)
		if err != nil {
			return err
		}
		rows := make([]deadlineRow, 0, len(deadlines))
		for i, d := range deadlines {
			row, err := deadlineOf(c, ch, maddr, i, d)
			if err != nil {
				return err
			}
			row.Current = uint64(i) == di.Index
			rows = append(rows, row)
		}
		return show(c, rows, func(w io.Writer) {
			t := newTable(w, "Deadline", "Partitions", "Proven", "Sectors", "Faulty", "")
			for _, r := range rows {
				mark := ""
				if r.Current {
					mark = "current"
				}
				t.AppendRow([]any{r.Deadline, r.Partitions, r.Proven, r.Sectors, r.Faulty, mark})
			}
			t.Render()
		})
	})
}

func deadlineOf(c *cli.Context, ch api.Chain, maddr address.Address, i int, d api.Deadline) (deadlineRow, error) {
	row := deadlineRow{Deadline: i}
	parts, err := ch.StateMinerPartitions(c.Context, maddr, uint64(i), nil)
	if err != nil {
		return row, err
	}
	row.Partitions = len(parts)
	if row.Proven, err = d.PostSubmissions.Count(); err != nil {
		return row, err
	}
	for _, p := range parts {
		live, err := p.LiveSectors.Count()
		if err != nil {
			return row, err
		}
		faulty, err := p.FaultySectors.Count()
		if err != nil {
			return row, err
		}
		row.Sectors += live
		row.Faulty += faulty
	}
	return row, nil
}
