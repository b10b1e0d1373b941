package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// missedProof is a deadline without a proof.
type missedProof struct {
	open, head abi.ChainEpoch
	last       []api.PoStRecord
}

func (m *missedProof) Error() string {
	text := fmt.Sprintf("no window PoSt was accepted for the deadline that opened at %d, at epoch %d", m.open, m.head)
	for _, rec := range m.last[:min(len(m.last), 3)] {
		text += fmt.Sprintf("; deadline %d, open %d: %d sectors, %d skipped, accepted %t, %s", rec.Deadline, rec.Open, rec.Sectors,
			len(rec.Skipped), rec.Accepted, rec.Error)
	}
	return text
}

// check is what must hold at the end of every scenario.
func (r *run) check(ctx context.Context) error {
	var errs []error
	for _, c := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"deals", r.checkDeals},
		{"faults", r.checkFaults},
		{"computing", r.checkWork},
	} {
		if err := c.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.what, err))
		}
	}
	return errors.Join(errs...)
}

// checkDeals requires every deal to be active on chain, none to be published
// twice, and each file to come back as it went.
func (r *run) checkDeals(ctx context.Context) error {
	for i, one := range r.deals {
		deal, err := r.Chain.StateMarketStorageDeal(ctx, one.Last.ChainDealID, nil)
		if err != nil {
			return fmt.Errorf("deal %d on chain: %w", one.Last.ChainDealID, err)
		}
		if deal.State.SectorStartEpoch < 0 {
			return fmt.Errorf("deal %d is not active on chain", one.Last.ChainDealID)
		}
		if err := r.Retrieve(ctx, one); err != nil {
			return fmt.Errorf("retrieve deal %d: %w", i, err)
		}
	}
	// The chain gives ids in order from 0, and nobody else makes deals here.
	_, err := r.Chain.StateMarketStorageDeal(ctx, abi.DealID(len(r.deals)), nil)
	if err == nil {
		return fmt.Errorf("the chain has more than the %d deals that were made: one was published twice", len(r.deals))
	}
	if !strings.Contains(err.Error(), "not found") { // Lotus has no typed error here
		return err
	}
	return nil
}

// checkFaults goes through the chain's past: whatever is declared faulty, or not
// proven in its deadline, stays faulty until its deadline a day later, so that a
// look at two moments of each deadline misses nothing. A fault at any time of a
// sector whose disk nobody harmed is one that must not be.
func (r *run) checkFaults(ctx context.Context) error {
	maddr, err := r.actor()
	if err != nil {
		return err
	}
	head, err := r.Chain.ChainHead(ctx)
	if err != nil {
		return err
	}
	since := map[abi.SectorNumber]abi.ChainEpoch{}
	looks := 0
	for at := abi.ChainEpoch(1); at <= head.Height; at += 30 {
		tip, err := r.Chain.ChainGetTipSetByHeight(ctx, min(at, head.Height), head.Key())
		if err != nil {
			return err
		}
		faults, err := r.Chain.StateMinerFaults(ctx, maddr, tip.Key())
		if err != nil {
			if looks == 0 {
				continue // before the miner was made
			}
			return fmt.Errorf("faults at epoch %d: %w", tip.Height, err)
		}
		looks++
		if err := faults.ForEach(func(n uint64) error {
			if _, known := since[abi.SectorNumber(n)]; !known {
				since[abi.SectorNumber(n)] = tip.Height
			}
			return nil
		}); err != nil {
			return err
		}
	}
	r.say("%d looks at the chain's past, %d sectors were faulty, %d could be", looks, len(since), len(r.sick))
	return r.unharmed(since)
}

// unharmed complains of faults of sectors whose disk was never harmed.
func (r *run) unharmed(since map[abi.SectorNumber]abi.ChainEpoch) error {
	var errs []error
	for n, at := range since {
		if !r.sick[n] {
			errs = append(errs, fmt.Errorf("sector %d, which is healthy, was faulty at epoch %d", n, at))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// checkWork reads what the workers did from their logs.
func (r *run) checkWork(context.Context) error {
	var all []event
	for _, p := range r.workers() {
		e, err := events(p)
		if err != nil {
			return err
		}
		all = append(all, e...)
	}
	count := map[string]int{}
	for _, e := range all {
		if kind := kindOf(e.key); computing[kind] {
			count[kind+" "+e.what]++
		}
	}
	r.say("tasks: %v", count)
	return redone(all, killedBetween)
}
