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
)

func dealsCommand() *cli.Command {
	return &cli.Command{
		Name: "storage-deals", Usage: "storage deals of the markets node",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list deals, newest first", Action: listDeals, Flags: []cli.Flag{
				jsonFlag,
				&cli.StringSliceFlag{Name: "checkpoint", Usage: "only deals at this checkpoint, for example Transferred; may be repeated"},
				&cli.StringFlag{Name: "retry", Usage: "only deals with this class of retry: auto, manual or fatal"},
				&cli.BoolFlag{Name: "failed", Usage: "only deals with an error"},
			}},
			{
				Name:      "get",
				Usage:     "show one deal",
				ArgsUsage: "UUID",
				Action:    getDeal,
				Flags:     []cli.Flag{jsonFlag, &cli.BoolFlag{Name: "log", Usage: "with its history"}},
			},
			{Name: "retry", Usage: "try a deal again that waits for you", ArgsUsage: "UUID", Action: retryDeal},
		},
	}
}

func dealArg(c *cli.Context) (api.UUID, error) {
	if c.NArg() != 1 {
		return api.UUID{}, errors.New("name one deal UUID; `miner storage-deals list` prints them")
	}
	id, err := uuid.Parse(c.Args().First())
	if err != nil {
		return api.UUID{}, fmt.Errorf("%q is not a deal UUID: %w", c.Args().First(), err)
	}
	return id, nil
}

func listDeals(c *cli.Context) error {
	n, err := dialMarkets(c)
	if err != nil {
		return err
	}
	defer n.Close()
	q := api.DealQuery{Limit: pageSize, Retry: api.DealRetry(c.String("retry")), Failed: c.Bool("failed")}
	for _, name := range c.StringSlice("checkpoint") {
		q.Checkpoints = append(q.Checkpoints, api.DealCheckpoint(name))
	}
	return stream(c, dealListing(func(cursor string) ([]api.DealInfo, string, error) {
		q.Cursor = cursor
		page, err := n.DealsQuery(c.Context, q)
		return page.Deals, page.Next, err
	}))
}

func dealListing(page func(cursor string) ([]api.DealInfo, string, error)) listing[api.DealInfo] {
	return listing[api.DealInfo]{
		header: []any{"Deal", "On chain", "Checkpoint", "Received", "Sector", "State", "Note"},
		row: func(d api.DealInfo) []any {
			sector := ""
			if d.Placement != nil {
				sector = sectorOf(d.Placement.Sector)
			}
			received := humanize.IBytes(d.Received) + " of " + humanize.IBytes(d.TransferSize)
			return []any{d.UUID, chainDeal(d), d.Checkpoint, received, sector, d.SealingState, dealNote(d)}
		},
		page: page,
	}
}

// chainDeal is the deal's number on chain; the first deal of a chain is 0.
func chainDeal(d api.DealInfo) string {
	if !d.OnChain {
		return ""
	}
	return fmt.Sprint(d.ChainDealID)
}

// countDeals is how many deals there are.
func countDeals(c *cli.Context, n api.Markets) (int, error) {
	by, err := n.DealsSummary(c.Context)
	sum := 0
	for _, n := range by {
		sum += n
	}
	return sum, err
}

func getDeal(c *cli.Context) error {
	id, err := dealArg(c)
	if err != nil {
		return err
	}
	n, err := dialMarkets(c)
	if err != nil {
		return err
	}
	defer n.Close()
	d, err := n.DealsGet(c.Context, id, c.Bool("log"))
	if err != nil {
		return err
	}
	return show(c, d, func(w io.Writer) { printDeal(w, d) })
}

func printDeal(w io.Writer, d api.DealInfo) {
	fmt.Fprintf(w, "deal:       %s (%s)\ncheckpoint: %s\nclient:     %s\npiece:      %s, %s padded\npayload:    %s, %s of %s received\n",
		d.UUID, published(d), d.Checkpoint, d.Proposal.Client, d.Proposal.PieceCID, humanize.IBytes(uint64(d.Proposal.PieceSize)),
		d.PayloadRoot, humanize.IBytes(d.Received), humanize.IBytes(d.TransferSize))
	fmt.Fprintf(w, "epochs:     %d to %d, %s\n", d.Proposal.StartEpoch, d.Proposal.EndEpoch, activeSince(d))
	if d.Attempt > 0 {
		fmt.Fprintf(w, "placed:     again, %d times (see --log)\n", d.Attempt)
	}
	if d.Placement != nil {
		fmt.Fprintf(w, "sector:     %s at %d, %s\n", sectorOf(d.Placement.Sector), d.Placement.Offset, d.SealingState)
	}
	if d.PublishCid != nil {
		fmt.Fprintf(w, "published:  %s\n", d.PublishCid)
	}
	if d.Err != "" {
		fmt.Fprintf(w, "error:      %s (retry: %s)\n", d.Err, d.Retry)
		fmt.Fprintf(w, "what to do: %s\n", dealAdvice(d))
	}
	printIndexNote(w, d)
	for _, l := range d.Log {
		fmt.Fprintf(w, "%s  %s\n", l.Time.Format(time.RFC3339), l.Message)
	}
}

func published(d api.DealInfo) string {
	if !d.OnChain {
		return "not on chain yet"
	}
	return fmt.Sprintf("on chain %d", d.ChainDealID)
}

func activeSince(d api.DealInfo) string {
	if d.SectorStartEpoch < 0 {
		return "not active yet"
	}
	return fmt.Sprintf("active since %d", d.SectorStartEpoch)
}

// dealAdvice says what an operator can do for a deal with an error.
func dealAdvice(d api.DealInfo) string {
	switch {
	case d.Retry == api.DealRetryFatal:
		return "nothing: the deal is over"
	case d.Retry == api.DealRetryManual:
		return fmt.Sprintf("when the reason is gone: miner storage-deals retry %s", d.UUID)
	case d.Fault == api.FaultCaller:
		return "nothing: it is tried again by itself; the client has to mend it"
	case d.Fault == api.FaultOperator:
		return "mend the setting or the token that the error names; it is tried again by itself"
	}
	return "it is tried again by itself; see `miner info` on the sealing side if it stays"
}

func retryDeal(c *cli.Context) error {
	id, err := dealArg(c)
	if err != nil {
		return err
	}
	n, err := dialMarkets(c)
	if err != nil {
		return err
	}
	defer n.Close()
	return n.DealsRetry(c.Context, id)
}
