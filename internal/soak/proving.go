package main

import (
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"quarry/api"
	"quarry/internal/testnet"
)

// before is how many epochs before a deadline of ours a warp is over: the devnet
// stops it there at the latest.
const before = 40

func (r *run) actor() (address.Address, error) { return address.NewFromString(r.MinerAddr) }

// nextDeadline is the opening of the next deadline in which we owe a proof, after
// an epoch, and that of the current deadline if we owe one in it.
func (r *run) nextDeadline(ctx context.Context) (head, open abi.ChainEpoch, err error) {
	maddr, err := r.actor()
	if err != nil {
		return 0, 0, err
	}
	tip, err := r.Chain.ChainHead(ctx)
	if err != nil {
		return 0, 0, err
	}
	info, err := r.Chain.StateMinerProvingDeadline(ctx, maddr, tip.Key())
	if err != nil {
		return 0, 0, err
	}
	open = -1
	for i := range info.WPoStPeriodDeadlines {
		owed, err := r.owed(ctx, maddr, i, tip.Key())
		if err != nil {
			return 0, 0, err
		}
		if at := opens(info, i); owed && (open < 0 || at < open) {
			open = at
		}
	}
	if open < 0 {
		return 0, 0, fmt.Errorf("no deadline has a sector of %s", r.MinerAddr)
	}
	return tip.Height, open, nil
}

// opens is the next opening of a deadline, after the present epoch.
func opens(info *dline.Info, index uint64) abi.ChainEpoch {
	at := info.PeriodStart + abi.ChainEpoch(index)*info.WPoStChallengeWindow //nolint:gosec // below 48
	for at <= info.CurrentEpoch {
		at += info.WPoStProvingPeriod
	}
	return at
}

// owed tells whether sectors live in a deadline that can be proven.
func (r *run) owed(ctx context.Context, maddr address.Address, index uint64, at api.TipSetKey) (owed bool, err error) {
	parts, err := r.Chain.StateMinerPartitions(ctx, maddr, index, at)
	if err != nil {
		return false, err
	}
	for _, p := range parts {
		if err := p.LiveSectors.ForEach(func(n uint64) error {
			owed = owed || !r.sick[abi.SectorNumber(n)]
			return nil
		}); err != nil {
			return false, err
		}
	}
	return owed, nil
}

// toDeadline lets chain time run until shortly before we owe a proof, and tells
// when that deadline opens. Nothing may be sealing.
func (r *run) toDeadline(ctx context.Context) (open abi.ChainEpoch, err error) {
	err = r.Until(ctx, "a deadline to come near", func(ctx context.Context) (bool, error) {
		var head abi.ChainEpoch
		if head, open, err = r.nextDeadline(ctx); err != nil || open-head <= before {
			return err == nil, err
		}
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, err := r.Chain.DevnetWarp(short, open-head-before/2, false)
		return false, err
	})
	return open, err
}

// toEpoch waits until the chain is there.
func (r *run) toEpoch(ctx context.Context, epoch abi.ChainEpoch) error {
	return r.Until(ctx, fmt.Sprintf("epoch %d", epoch), func(ctx context.Context) (bool, error) {
		head, err := r.Chain.ChainHead(ctx)
		return err == nil && head.Height >= epoch, err
	})
}

// proven waits until the proof of the deadline that opened at an epoch is on
// chain. That it came too late is seen by the chain's faults, later; that it
// does not come at all ends the wait with the deadline.
func (r *run) proven(ctx context.Context, open abi.ChainEpoch) (rec api.PoStRecord, err error) {
	err = r.Until(ctx, fmt.Sprintf("the window PoSt of the deadline that opened at %d", open), func(ctx context.Context) (bool, error) {
		p, err := r.Miner.ProvingStatus(ctx)
		if err != nil {
			return false, err
		}
		for _, rec = range p.Recent {
			if rec.Open == open && rec.Accepted {
				return true, nil
			}
		}
		head, err := r.Chain.ChainHead(ctx)
		if err == nil && head.Height > open+2*60 {
			return false, &testnet.Fatal{Err: &missedProof{open: open, head: head.Height, last: p.Recent}}
		}
		return false, err
	})
	return rec, err
}
