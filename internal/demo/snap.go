package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/testnet"
)

// makeRoom seals a sector of zeros, waits until the chain has seen it proven, and
// marks it: the deal that comes next goes into it without sealing.
func (d *demo) makeRoom(ctx context.Context) error {
	var number abi.SectorNumber
	pledged := false
	return d.Until(ctx, "an empty sector to be proven", func(ctx context.Context) (bool, error) {
		if !pledged {
			id, err := d.Miner.PledgeSector(ctx)
			if err != nil {
				return false, err
			}
			number, pledged = id.Number, true
		}
		s, err := d.Miner.SectorsStatus(ctx, number, false)
		if err != nil {
			return false, err
		}
		p, err := d.Miner.ProvingStatus(ctx)
		if err != nil {
			return false, err
		}
		d.screen.note("sector %d %s, %d window PoSts accepted", number, s.State, p.Accepted)
		switch {
		case s.State != api.SectorProving:
			return false, nil
		case p.Accepted == 0:
			return false, d.warp(ctx)
		}
		d.before = p.Accepted
		return true, d.Miner.SectorMarkForUpgrade(ctx, number, true)
	})
}

// resting tells whether a sector has nothing to do for its deal any more. One
// that took data keeps its replica from before for 900 epochs.
func resting(s api.SectorInfo) bool {
	return s.State == api.SectorProving || s.UpdateMsg != nil && s.State == api.SectorUpdateActivating
}

// checkSnapped requires that the deal's sector was updated, not sealed for it.
func (d *demo) checkSnapped() error {
	for _, one := range d.deals {
		if one.Sector.UpdateMsg == nil || one.Sector.UpdateSealed == nil {
			return &testnet.Fatal{Err: errors.New("the deal's sector was not updated: " + fmt.Sprint(one.Sector.Sector.ID.Number))}
		}
	}
	return nil
}
