package main

import (
	"context"

	"quarry/api"
	"quarry/internal/testnet"
)

func (d *demo) propose(ctx context.Context) error {
	wallet, err := d.NewClient(ctx)
	if err != nil {
		return err
	}
	for _, one := range d.deals {
		if err := d.Propose(ctx, wallet, one); err != nil {
			return err
		}
	}
	return nil
}

// eachDeal waits until done holds for every deal.
func (d *demo) eachDeal(ctx context.Context, what string, done func(context.Context, *testnet.Deal) (bool, error)) error {
	return d.Until(ctx, what, func(ctx context.Context) (bool, error) {
		all := true
		for _, one := range d.deals {
			if err := d.Refresh(ctx, one); err != nil {
				return false, err
			}
			ok, err := done(ctx, one)
			if err != nil {
				return false, err
			}
			all = all && ok
		}
		return all, nil
	})
}

func (d *demo) waitPublished(ctx context.Context) error {
	return d.eachDeal(ctx, "the deals to be published", func(_ context.Context, one *testnet.Deal) (bool, error) {
		d.screen.note("%s %d%%", one.Last.Checkpoint, percent(one.Last.Received, one.Last.TransferSize))
		return published(one.Last.Checkpoint), nil
	})
}

// published tells whether the deal's id on chain is known.
func published(c api.DealCheckpoint) bool {
	switch c {
	case api.DealPublishConfirmed, api.DealAddedPiece, api.DealIndexed, api.DealComplete:
		return true
	}
	return false
}

func percent(a, b uint64) uint64 {
	if b == 0 {
		return 0
	}
	return a * 100 / b
}

func (d *demo) waitActive(ctx context.Context) error {
	return d.eachDeal(ctx, "the deals to be active", d.Active)
}

func (d *demo) retrieve(ctx context.Context) error {
	for _, one := range d.deals {
		if err := d.Retrieve(ctx, one); err != nil {
			return err
		}
	}
	return nil
}
