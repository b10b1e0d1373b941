package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/internal/testnet"
)

// provingPeriod of the devnet's network, epochs (its miner policy).
const provingPeriod = 2880

// waitProven lets chain time run fast wherever nobody has anything to do.
func (d *demo) waitProven(ctx context.Context) error {
	return d.Until(ctx, "window PoSts and a block", func(ctx context.Context) (bool, error) {
		p, err := d.Miner.ProvingStatus(ctx)
		if err != nil {
			return false, err
		}
		m, err := d.Miner.MiningStatus(ctx)
		if err != nil {
			return false, err
		}
		d.lastProving, d.lastMining = p, m
		head, err := d.Chain.ChainHead(ctx)
		if err != nil {
			return false, err
		}
		d.screen.note("epoch %d, %d window PoSts accepted, %d blocks won", head.Height/10*10, p.Accepted, m.BlocksWon)
		proving, err := d.allProving(ctx)
		if err != nil {
			return false, err
		}
		if p.Accepted >= d.before+d.o.proofs && m.BlocksWon >= 1 && proving {
			return true, d.checkChain(ctx)
		}
		switch {
		case d.o.form == formGroth16 && p.Accepted >= d.before+d.o.proofs && m.BlocksWon == 0 && m.Eligible:
			err = d.slowDown(ctx)
		case p.Accepted < d.before+d.o.proofs || m.BlocksWon == 0:
			err = d.warp(ctx)
		}
		return false, err
	})
}

// warp lets a proving period pass, or as much of it as nobody needs.
func (d *demo) warp(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := d.Chain.DevnetWarp(short, provingPeriod, false)
	return err
}

func (d *demo) allProving(ctx context.Context) (bool, error) {
	all := true
	for _, one := range d.deals {
		s, err := d.Miner.SectorsStatus(ctx, one.Sector.Sector.ID.Number, false)
		if err != nil {
			return false, err
		}
		one.Sector = s
		all = all && resting(s)
	}
	return all, nil
}

// checkChain asks the chain itself, not our own nodes, for what the summary
// claims: every deal active, none published twice, no sector faulty.
func (d *demo) checkChain(ctx context.Context) error {
	maddr, err := address.NewFromString(d.MinerAddr)
	if err != nil {
		return err
	}
	for _, one := range d.deals {
		deal, err := d.Chain.StateMarketStorageDeal(ctx, one.Last.ChainDealID, nil)
		if err != nil {
			return fmt.Errorf("deal %d on chain: %w", one.Last.ChainDealID, err)
		}
		if deal.State.SectorStartEpoch < 0 {
			return fmt.Errorf("deal %d is not active on chain", one.Last.ChainDealID)
		}
	}
	if d.o.snap {
		if err := d.checkSnapped(); err != nil {
			return err
		}
	}
	if err := d.checkNoMoreDeals(ctx); err != nil {
		return err
	}
	count, err := d.Chain.StateMinerSectorCount(ctx, maddr, nil)
	if err != nil {
		return err
	}
	if count.Active == 0 || count.Faulty != 0 {
		return fmt.Errorf("sectors on chain: %d active, %d faulty; want all active", count.Active, count.Faulty)
	}
	d.onChainSectors = count
	return nil
}

// checkNoMoreDeals requires that no deal was published twice: the chain gives
// ids in order from 0, and nobody else makes deals here.
func (d *demo) checkNoMoreDeals(ctx context.Context) error {
	extra := abi.DealID(len(d.deals))
	_, err := d.Chain.StateMarketStorageDeal(ctx, extra, nil)
	switch {
	case err == nil:
		return &testnet.Fatal{Err: fmt.Errorf("the chain has a deal %d though only %d were made: one was published twice", extra,
			len(d.deals))}
	case strings.Contains(err.Error(), "not found"): // Lotus has no typed error here
		return nil
	}
	return fmt.Errorf("deal %d on chain: %w", extra, err)
}
