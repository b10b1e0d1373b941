package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/internal/command"
)

// pageSize is how many entries one call of a list asks for.
const pageSize = 500

func sectorsCommand() *cli.Command {
	return &cli.Command{
		Name: "sectors", Usage: "sectors of this miner",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list sectors", Action: listSectors, Flags: []cli.Flag{
				jsonFlag,
				&cli.StringSliceFlag{Name: "state", Usage: "only sectors in this state, for example PreCommit1; may be repeated"},
				&cli.BoolFlag{Name: "faulty", Usage: "only sectors that the chain counts as faulty"},
			}},
			{
				Name:      "status",
				Usage:     "show one sector",
				ArgsUsage: "NUMBER",
				Action:    sectorStatus,
				Flags:     []cli.Flag{jsonFlag, &cli.BoolFlag{Name: "log", Usage: "with its history"}},
			},
			{Name: "pledge", Usage: "seal a sector without deals (committed capacity)", Flags: []cli.Flag{jsonFlag}, Action: pledge},
			{Name: "seal", Usage: "start sealing a sector that waits for more deals", ArgsUsage: "NUMBER",
				Action: onSector(func(c *cli.Context, n api.Sealing, s abi.SectorNumber) error {
					return n.SectorStartSealing(c.Context, s)
				})},
			{Name: "retry", Usage: "leave a failed state now", ArgsUsage: "NUMBER",
				Action: onSector(func(c *cli.Context, n api.Sealing, s abi.SectorNumber) error {
					return n.SectorRetry(c.Context, s)
				})},
			{Name: "snap-up", Usage: "let a sector without deals take the next deals, without sealing it again", ArgsUsage: "NUMBER",
				Action: onSector(func(c *cli.Context, n api.Sealing, s abi.SectorNumber) error {
					return n.SectorMarkForUpgrade(c.Context, s, true)
				})},
			{
				Name:      "abort-upgrade",
				Usage:     "undo snap-up: the sector goes on without deals",
				ArgsUsage: "NUMBER",
				Flags:     []cli.Flag{command.YesFlag()},
				Action: onSector(func(c *cli.Context, n api.Sealing, s abi.SectorNumber) error {
					if err := command.Confirm(c, "would give up what sector %d took in and return its deals", s); err != nil {
						return err
					}
					return n.SectorAbortUpgrade(c.Context, s)
				}),
			},
			{
				Name:      "remove",
				Usage:     "forget a sector and delete its files",
				ArgsUsage: "NUMBER",
				Flags:     []cli.Flag{command.YesFlag()},
				Action: onSector(func(c *cli.Context, n api.Sealing, s abi.SectorNumber) error {
					if err := command.Confirm(c, "would remove sector %d and every file of it", s); err != nil {
						return err
					}
					return n.SectorRemove(c.Context, s)
				}),
			},
		},
	}
}

func sectorArg(c *cli.Context) (abi.SectorNumber, error) {
	if c.NArg() != 1 {
		return 0, errors.New("name one sector number; `miner sectors list` prints them")
	}
	n, err := strconv.ParseUint(c.Args().First(), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is not a sector number", c.Args().First())
	}
	return abi.SectorNumber(n), nil
}

func onSector(call func(*cli.Context, api.Sealing, abi.SectorNumber) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := sectorArg(c)
		if err != nil {
			return err
		}
		n, err := dialMiner(c)
		if err != nil {
			return err
		}
		defer n.Close()
		return call(c, n, s)
	}
}

func listSectors(c *cli.Context) error {
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	q := api.SectorQuery{Limit: pageSize, Faulty: c.Bool("faulty")}
	for _, name := range c.StringSlice("state") {
		q.States = append(q.States, api.SectorState(name))
	}
	return stream(c, sectorListing(func(string) ([]api.SectorInfo, string, error) {
		page, err := n.SectorsQuery(c.Context, q)
		if err != nil || page.Next == nil {
			return page.Sectors, "", err
		}
		q.From = *page.Next
		return page.Sectors, "more", nil
	}))
}

func sectorListing(page func(cursor string) ([]api.SectorInfo, string, error)) listing[api.SectorInfo] {
	return listing[api.SectorInfo]{
		header: []any{"Miner", "Sector", "State", "Deals", "Expires", "Updated", "Note"},
		row: func(s api.SectorInfo) []any {
			deals := 0
			for _, p := range s.Pieces {
				if p.DealInfo != nil {
					deals++
				}
			}
			return []any{minerOf(s.Sector.ID), s.Sector.ID.Number, stateWord(s), deals, epochOrNot(s.Expiration),
				s.Updated.Format(time.RFC3339), sectorNote(s)}
		},
		page: page,
	}
}

func sectorStatus(c *cli.Context) error {
	s, err := sectorArg(c)
	if err != nil {
		return err
	}
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	info, err := n.SectorsStatus(c.Context, s, c.Bool("log"))
	if err != nil {
		return err
	}
	return show(c, info, func(w io.Writer) { printSector(w, info) })
}

func printSector(w io.Writer, s api.SectorInfo) {
	fmt.Fprintf(w, "sector:     %s\nstate:      %s\n", sectorOf(s.Sector.ID), stateWord(s))
	if f := s.Fault; f != nil {
		fmt.Fprintf(w, "fault:      since %s, deadline %d, partition %d: %s\n", since(*f), f.Deadline, f.Partition, f.Why)
		fmt.Fprintf(w, "what to do: %s\n", f.Do)
	}
	if s.LastErr != "" {
		fmt.Fprintf(w, "last error: %s%s\n", s.LastErr, retryNote(s))
	}
	if s.Task != nil {
		fmt.Fprintf(w, "running:    %s on %s: %s %.0f%%, ETA %s\n",
			s.Task.Spec.Type, s.Task.Worker, s.Task.Stage, s.Task.Percent, s.Task.ETA.Round(time.Second))
	}
	for _, row := range []struct {
		name string
		v    *cid.Cid
	}{{"CommD", s.CommD}, {"CommR", s.CommR}, {"pre-commit", s.PreCommitMsg}, {"commit", s.CommitMsg},
		{"new CommD", s.UpdateUnsealed}, {"new CommR", s.UpdateSealed}, {"update", s.UpdateMsg}} {
		if row.v != nil {
			fmt.Fprintf(w, "%-11s %s\n", row.name+":", row.v)
		}
	}
	for _, row := range []struct {
		name  string
		epoch abi.ChainEpoch
	}{{"ticket", s.TicketEpoch}, {"seed", s.SeedEpoch}, {"expires", s.Expiration}} {
		if row.epoch > 0 {
			fmt.Fprintf(w, "%-11s epoch %d\n", row.name+":", row.epoch)
		}
	}
	for _, p := range s.Pieces {
		deal := "filler"
		if p.DealInfo != nil {
			deal = fmt.Sprintf("deal %d", p.DealInfo.DealID)
		}
		fmt.Fprintf(w, "piece:      %s at %d, %d bytes padded, %s\n", p.Piece.PieceCID, p.Offset, p.Piece.Size, deal)
	}
	for _, l := range s.Log {
		fmt.Fprintf(w, "%s  %-20s %s\n", l.Time.Format(time.RFC3339), l.State, l.Message)
	}
}

// retryNote says what comes after an error; nothing where no retry is due.
func retryNote(s api.SectorInfo) string {
	if s.NextRetry.IsZero() {
		return ""
	}
	return fmt.Sprintf(" (retry %d, next %s)", s.Retries, s.NextRetry.Format(time.RFC3339))
}

func pledge(c *cli.Context) error {
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	id, err := n.PledgeSector(c.Context)
	if err != nil {
		return err
	}
	return show(c, id, func(w io.Writer) { fmt.Fprintf(w, "sector %s\n", sectorOf(id)) })
}
