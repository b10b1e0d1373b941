package main

import (
	"fmt"
	"io"
	"time"

	"quarry/internal/testnet"
)

// summary prints what happened, each figure as read from the nodes.
func (d *demo) summary(w io.Writer) {
	fmt.Fprintln(w)
	row := func(k, format string, args ...any) { fmt.Fprintf(w, "  %-22s %s\n", k, fmt.Sprintf(format, args...)) }
	row("miner", "%s", d.MinerAddr)
	for _, one := range d.deals {
		d.dealRows(row, one)
	}
	row("form of proofs", "%s", d.o.form)
	row("sectors on chain", "%d active, %d faulty", d.onChainSectors.Active, d.onChainSectors.Faulty)
	row("window PoSts on chain", "%d accepted, %d failed", d.lastProving.Accepted, d.lastProving.Failed)
	row("blocks won", "%d", d.lastMining.BlocksWon)
	if d.o.chaos {
		row("killed -9", "devnet %d, miner %d, markets %d, worker %d (seed %d)",
			d.DevnetProc.Killed(), d.MinerProc.Killed(), d.MarketsProc.Killed(), d.WorkerProc.Killed(), d.o.seed)
	}
	for _, st := range d.screen.stages {
		row("  "+st.name, "%.1f s", st.elapsed().Seconds())
	}
	row("total", "%.1f s", time.Since(d.started).Seconds())
}

// printEnvironment lets a person of this user join the running network. It names
// the files with the tokens: what is printed here ends in logs.
func (d *demo) printEnvironment(w io.Writer) {
	fmt.Fprintf(w, "\nStill running (Ctrl-C ends it). To join:\n  export FULLNODE_API_INFO=@%s\n  export MINER_PATH=%s MARKETS_PATH=%s\n",
		d.Repo("devnet"), d.Repo("miner"), d.Repo("markets"))
}

func (d *demo) dealRows(row func(k, format string, args ...any), one *testnet.Deal) {
	s := one.Sector
	row("deal", "%d (%s), active since epoch %d", one.Last.ChainDealID, one.UUID, one.Last.SectorStartEpoch)
	row("sector", "%d, %s", s.Sector.ID.Number, s.State)
	if s.CommR != nil {
		row("CommR", "%s", s.CommR)
	}
	if s.UpdateSealed != nil {
		row("CommR with the deal", "%s", s.UpdateSealed)
	}
	row("ticket, seed epochs", "%d, %d", s.TicketEpoch, s.SeedEpoch)
	row("retrieved", "%d bytes, sha256 %s, equal", one.Size, one.Sum)
}
