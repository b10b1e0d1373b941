package deals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"

	"quarry/api"
	"quarry/markets/transfer"
)

// handOff gives the piece to sealing unless sealing has it already. A place that
// was given up is no failure: the next attempt has a key of its own.
func (p *Provider) handOff(ctx context.Context, rec *Record, prop market.DealProposal) error {
	deal, err := p.onChain(ctx, rec, prop)
	if err != nil {
		return err
	}
	if deal != nil && deal.State.SectorStartEpoch > -1 { // a place that was thought lost came through
		return p.adopt(ctx, rec, deal.State.SectorStartEpoch)
	}
	at, err := p.deps.Sealing.SectorPlacement(ctx, rec.placeKey(rec.Attempt))
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		at, err = p.offer(ctx, rec, prop)
	}
	var gone *api.ErrGivenUp
	var mismatch *api.ErrPieceMismatch
	switch {
	case errors.As(err, &gone):
		return p.placeAgain(ctx, rec, prop, err)
	case errors.As(err, &mismatch): // the bytes were right when they came: ours are damaged
		if _, uerr := p.deps.Store.Update(ctx, rec.UUID, func(r *Record) { r.VerifiedSize = 0 }); uerr != nil {
			return uerr
		}
		return fmt.Errorf("sealing read other bytes than were received; they are checked again: %w", err)
	case err != nil:
		return fmt.Errorf("add piece to a sector: %w", err)
	}
	return p.reach(ctx, rec, api.DealAddedPiece, func(r *Record) {
		r.Placement = &at
		r.logf(time.Now(), "piece is in sector %d at %d", at.Sector.Number, at.Offset)
	})
}

// offer has the piece put into a sector, as long as the deal can still begin.
func (p *Provider) offer(ctx context.Context, rec *Record, prop market.DealProposal) (at api.PiecePlacement, err error) {
	if err := p.inTime(ctx, rec, prop, 0, "seal"); err != nil {
		return at, err
	}
	if err := p.restage(ctx, rec, prop); err != nil {
		return at, err
	}
	if err := sleep(ctx, p.pause(rec.Attempt)); err != nil {
		return at, err
	}
	intime, stop := p.before(ctx, prop.StartEpoch)
	defer stop()
	return p.deps.Sealing.SectorAddPiece(intime, p.pieceRequest(rec, prop))
}

// pause keeps a piece that loses one place after the other from being placed
// without end in a moment.
func (p *Provider) pause(attempt int) time.Duration {
	if attempt == 0 {
		return 0
	}
	return min(p.cfg.RetryMin<<min(attempt-1, 20), p.cfg.RetryMax)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (p *Provider) pieceRequest(rec *Record, prop market.DealProposal) api.AddPieceRequest {
	return api.AddPieceRequest{
		Key:   rec.placeKey(rec.Attempt),
		Piece: abi.PieceInfo{Size: prop.PieceSize, PieceCID: prop.PieceCID},
		Deal: api.PieceDealInfo{
			DealID:       rec.ChainDealID,
			PublishCid:   rec.PublishCid,
			DealProposal: &prop,
			StartEpoch:   prop.StartEpoch,
			EndEpoch:     prop.EndEpoch,
			KeepUnsealed: !rec.RemoveUnsealed,
			Attempt:      rec.Attempt,
		},
		Data: api.DataRef{URL: p.cfg.StagedBaseURL + "/staged/" + rec.UUID.String(), Token: rec.StagedToken, Size: rec.TransferSize},
	}
}

// restage makes sure that the bytes are here and right. Once a deal is published
// their loss is ours: they are asked for again as long as the deal can begin.
func (p *Provider) restage(ctx context.Context, rec *Record, prop market.DealProposal) error {
	have := p.onDisk(rec)
	if have > rec.TransferSize {
		p.removeStaged(rec.UUID)
	}
	if have == rec.TransferSize {
		err := p.sum(ctx, rec, prop)
		var mismatch *api.ErrPieceMismatch
		if errors.As(err, &mismatch) {
			p.removeStaged(rec.UUID)
			return fmt.Errorf("the staged bytes are damaged and are fetched again: %w", err)
		}
		return err
	}
	if rec.VerifiedSize != 0 { // what comes now has to be checked, whatever happens meanwhile
		next, err := p.deps.Store.Update(ctx, rec.UUID, func(r *Record) {
			r.VerifiedSize = 0
			r.logf(time.Now(), "the staged bytes are not here (%d of %d); they are fetched again", have, r.TransferSize)
		})
		if err != nil {
			return err
		}
		*rec = *next
		p.removeStaged(rec.UUID) // and what is noted of a transfer that was whole
	}
	if err := p.pull(ctx, rec); err != nil {
		return fmt.Errorf("the staged bytes are lost and cannot be fetched again from %s: %w", shown(rec.TransferURL), err)
	}
	return p.sum(ctx, rec, prop)
}

// placeAgain forgets a placement that was given up and sends the deal back to
// the hand-off. The staged bytes are still here.
func (p *Provider) placeAgain(ctx context.Context, rec *Record, prop market.DealProposal, cause error) error {
	if rec.Placement != nil {
		if err := p.deps.Index.ForgetSector(ctx, prop.PieceCID, *rec.Placement); err != nil {
			return fmt.Errorf("forget the place of piece %s: %w", prop.PieceCID, err)
		}
	}
	p.deps.Log.WarnContext(ctx, "deal lost its place and is placed again", "deal", rec.UUID,
		"lost", rec.placeKey(rec.Attempt), "reason", cause)
	_, err := p.deps.Store.Update(ctx, rec.UUID, func(r *Record) {
		r.Attempt++
		r.Placement, r.SealingState = nil, ""
		r.Checkpoint, r.Retry = api.DealPublishConfirmed, api.DealRetryAuto
		r.Err, r.Fault = bounded(cause.Error()), faultOf(cause)
		r.logf(time.Now(), "its place is lost, it is placed again: %s", cause)
	})
	return err
}

// adopt finds the placement that came through on chain among all attempts.
func (p *Provider) adopt(ctx context.Context, rec *Record, start abi.ChainEpoch) error {
	for n := rec.Attempt; n >= 0; n-- {
		at, err := p.deps.Sealing.SectorPlacement(ctx, rec.placeKey(n))
		if err != nil {
			continue // the error of the last is the same story
		}
		return p.reach(ctx, rec, api.DealAddedPiece, func(r *Record) {
			r.Placement, r.Attempt = &at, n
			r.logf(time.Now(), "active since epoch %d; piece is in sector %d at %d", start, at.Sector.Number, at.Offset)
		})
	}
	return fmt.Errorf("deal %d is active since epoch %d and sealing does not know its sector; restore a newer backup of the sealing node",
		rec.ChainDealID, start)
}

// goneAfter is how long after a deal's start a node that answers, but not for
// the deal, is believed: real nodes have no word of their own for a deal that
// is gone.
const goneAfter abi.ChainEpoch = builtin.EpochsInDay

// onChain reads the deal. Nil without an error: the chain does not have it.
func (p *Provider) onChain(ctx context.Context, rec *Record, prop market.DealProposal) (*api.MarketDeal, error) {
	deal, err := p.deps.Chain.StateMarketStorageDeal(ctx, rec.ChainDealID, nil)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		if !api.IsTemporary(err) && p.passed(ctx, prop.StartEpoch+goneAfter) {
			return nil, nil
		}
		return nil, fmt.Errorf("read deal %d: %w", rec.ChainDealID, err)
	}
	if deal.State.SlashEpoch > -1 {
		return nil, late(rec, "deal %d was slashed at epoch %d", rec.ChainDealID, deal.State.SlashEpoch)
	}
	return deal, nil
}

// passed tells whether the chain is beyond an epoch; a node that does not answer
// says nothing.
func (p *Provider) passed(ctx context.Context, epoch abi.ChainEpoch) bool {
	head, err := p.deps.Chain.ChainHead(ctx)
	return err == nil && head.Height > epoch
}

// index records the piece and its blocks. The staged bytes stay: until the deal
// is active on chain they may be needed for another place.
func (p *Provider) index(ctx context.Context, rec *Record, prop market.DealProposal) error {
	if err := p.deps.Index.AddDeal(ctx, prop.PieceCID, rec.UUID, rec.TransferSize, *rec.Placement); err != nil {
		return err
	}
	if err := p.restage(ctx, rec, prop); err != nil && p.passed(ctx, prop.StartEpoch) {
		return p.reach(ctx, rec, api.DealIndexed, func(r *Record) { r.logf(time.Now(), "not indexed: %s", err) })
	} else if err != nil {
		return err
	}
	f, err := os.Open(p.StagedPath(rec.UUID))
	if err != nil {
		return fmt.Errorf("open staged payload to index it: %w", err)
	}
	err = p.deps.Index.Index(ctx, prop.PieceCID, f, rec.TransferSize)
	f.Close()
	if err != nil {
		return err
	}
	return p.reach(ctx, rec, api.DealIndexed, p.noteIndexed(ctx, prop.PieceCID))
}

func (p *Provider) removeStaged(id api.UUID) {
	if err := transfer.Remove(p.StagedPath(id)); err != nil {
		p.deps.Log.Warn("cannot remove staging file; remove it by hand", "deal", id, "error", err)
	}
}

// watch follows the sector until the deal is active on chain, or has to be
// placed again.
func (p *Provider) watch(ctx context.Context, rec *Record, prop market.DealProposal) error {
	for {
		head, err := p.deps.Chain.ChainHead(ctx)
		if err != nil {
			return fmt.Errorf("getting chain head: %w", err)
		}
		done, err := p.look(ctx, rec, prop, head.Height)
		if done || err != nil {
			return err
		}
		if _, err := p.deps.Heads.WaitHeight(ctx, head.Height+p.cfg.PollEpochs); err != nil {
			return err
		}
	}
}

// look is one visit of watch; it is done when the deal has moved on.
func (p *Provider) look(ctx context.Context, rec *Record, prop market.DealProposal, now abi.ChainEpoch) (bool, error) {
	// A sealing side that is down must not hide that the deal is active.
	if err := p.followSector(ctx, rec); err != nil {
		return false, err
	}
	deal, err := p.onChain(ctx, rec, prop)
	if err != nil {
		return false, err
	}
	if deal != nil && deal.State.SectorStartEpoch > -1 {
		return true, p.complete(ctx, rec, deal.State.SectorStartEpoch)
	}
	if now > prop.StartEpoch+p.cfg.PollEpochs {
		return false, late(rec, "deal with piece CID %s was not activated by proposed deal start epoch %d", prop.PieceCID, prop.StartEpoch)
	}
	_, err = p.deps.Sealing.SectorPlacement(ctx, rec.placeKey(rec.Attempt))
	var gone *api.ErrGivenUp
	var unknown *api.ErrNotFound
	if errors.As(err, &gone) || errors.As(err, &unknown) { // unknown: the sealing node was set back to an older state
		return true, p.placeAgain(ctx, rec, prop, err)
	}
	return false, nil // one that does not answer is asked again
}

// complete ends a deal well. Its staged bytes go only now.
func (p *Provider) complete(ctx context.Context, rec *Record, start abi.ChainEpoch) error {
	err := p.reach(ctx, rec, api.DealComplete, func(r *Record) { r.Active, r.SectorStart = true, start })
	if err == nil {
		p.removeStaged(rec.UUID)
	}
	return err
}
