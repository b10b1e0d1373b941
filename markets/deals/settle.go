package deals

import (
	"context"
	"time"

	"quarry/api"
)

// unsettled tells whether a complete deal's sector still moves: a deal is active
// before its sector is finalized.
func unsettled(r *Record) bool {
	if !r.Final() || !r.Active || r.Placement == nil {
		return false
	}
	switch r.SealingState {
	case api.SectorProving, api.SectorFailedForGood, api.SectorRemoved:
		return false
	}
	return true
}

// settle follows the sector of a complete deal to its resting state. It only
// keeps what operators and clients read up to date, so that a sealing side that
// is away is asked again and never fails the deal.
func (p *Provider) settle(ctx context.Context, rec *Record) {
	for unsettled(rec) {
		head := p.deps.Heads.Head()
		if head == nil {
			var err error
			if head, err = p.deps.Heads.WaitHeight(ctx, 0); err != nil {
				return
			}
		}
		if err := p.followSector(ctx, rec); err != nil {
			p.deps.Log.Warn("cannot record the state of a complete deal's sector; asked again later", "deal", rec.UUID, "error", err)
		}
		if !unsettled(rec) {
			return
		}
		if _, err := p.deps.Heads.WaitHeight(ctx, head.Height+p.cfg.PollEpochs); err != nil {
			return
		}
	}
}

// followSector copies the sector's state into the deal's record. That the
// sealing side does not answer is no error.
func (p *Provider) followSector(ctx context.Context, rec *Record) error {
	info, err := p.deps.Sealing.SectorsStatus(ctx, rec.Placement.Sector.Number, false)
	if err != nil || info.State == rec.SealingState {
		return nil //nolint:nilerr // asked again
	}
	rec.SealingState = info.State
	_, err = p.deps.Store.Update(ctx, rec.UUID, func(r *Record) {
		r.SealingState = info.State
		r.logf(time.Now(), "sector %d: %s", rec.Placement.Sector.Number, info.State)
	})
	return err
}
