package faults

import (
	"fmt"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"quarry/api"
)

// reason is what this node knows of the sector's files and, else, what the last
// window PoSt of its deadline says; empty when that is not among those
// remembered, or went well.
func reason(f api.ChainFault, proofs api.ProvingStatus) string {
	for _, u := range proofs.Unreadable {
		if u.Sector == f.Sector {
			return "it cannot be read: " + u.String()
		}
	}
	for _, p := range proofs.Recent { // newest first
		if p.Deadline != f.Deadline {
			continue
		}
		if slices.Contains(p.Skipped, f.Sector) {
			return fmt.Sprintf("its files could not be read for the window PoSt of deadline %d, epoch %d", p.Deadline, p.Open)
		}
		if p.Error != "" {
			return fmt.Sprintf("the window PoSt of deadline %d, epoch %d, failed: %s", p.Deadline, p.Open, p.Error)
		}
		return ""
	}
	return ""
}

const whyDeclared = "it was declared faulty ahead of its window PoSt: its files could not be read"

// declared tells whether a fault that is new since the last look, at most every
// epochs ago, must have been declared: window PoSts, and their absence, make
// faults only while a deadline is open and when it closes.
func declared(deadline uint64, now *dline.Info, every abi.ChainEpoch) bool {
	next := dline.NewInfo(now.PeriodStart, deadline, now.CurrentEpoch, now.WPoStPeriodDeadlines, now.WPoStProvingPeriod,
		now.WPoStChallengeWindow, now.WPoStChallengeLookback, now.FaultDeclarationCutoff).NextNotElapsed()
	closed := next.Close - next.WPoStProvingPeriod
	return now.CurrentEpoch < next.Open && now.CurrentEpoch-closed > every
}

// explain is what is shown: the reason, and what the operator can do.
func explain(f api.ChainFault, why string) (string, string) {
	if why == "" {
		why = "the chain has no valid window PoSt of it; this node does not remember why"
	}
	if f.Recovering {
		return why, fmt.Sprintf("nothing: it was declared recovered, the next window PoSt of deadline %d decides", f.Deadline)
	}
	return why, "see `miner storage list` for its files and `miner proving info` for the proofs; " +
		"once it can be read again the node declares it recovered by itself"
}
