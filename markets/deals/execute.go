package deals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/markets/publish"
	"quarry/markets/transfer"
	"quarry/proofs/commp"
)

// execute takes a deal from checkpoint to checkpoint until it is complete,
// waits for the operator, or ctx ends.
func (p *Provider) execute(ctx context.Context, id api.UUID) {
	wait := p.cfg.RetryMin
	for ctx.Err() == nil {
		rec, err := p.deps.Store.Get(id)
		if err == nil && unsettled(rec) {
			p.settle(ctx, rec)
			return
		}
		if err != nil || rec.Final() || rec.Retry != api.DealRetryAuto {
			return
		}
		err = p.step(ctx, rec)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			wait = p.cfg.RetryMin
			continue
		}
		p.deps.Log.Warn("deal step failed", "deal", id, "checkpoint", rec.Checkpoint, "retry", classOf(err), "error", err)
		if uerr := p.failed(ctx, rec, err); uerr != nil {
			p.deps.Log.Error("cannot record a failed deal step", "deal", id, "error", uerr)
		}
		if classOf(err) != api.DealRetryAuto {
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		wait = min(2*wait, p.cfg.RetryMax)
	}
}

func (p *Provider) failed(ctx context.Context, rec *Record, err error) error {
	class := classOf(err)
	_, uerr := p.deps.Store.Update(ctx, rec.UUID, func(r *Record) {
		if r.Err != err.Error() {
			r.logf(time.Now(), "%s failed (%s): %s", stepName(r.Checkpoint), class, err)
		}
		r.Err, r.Retry = err.Error(), class
		if class == api.DealRetryFatal {
			r.Checkpoint = api.DealComplete
		}
	})
	if uerr == nil && class == api.DealRetryFatal && rec.Placement == nil {
		p.removeStaged(rec.UUID)
	}
	return uerr
}

func stepName(c api.DealCheckpoint) string {
	return map[api.DealCheckpoint]string{api.DealAccepted: "transfer", api.DealTransferred: "publishing",
		api.DealPublished: "publish confirmation", api.DealPublishConfirmed: "hand-off to sealing",
		api.DealAddedPiece: "indexing", api.DealIndexed: "sealing"}[c]
}

// step does the work that leads from the record's checkpoint to the next one.
func (p *Provider) step(ctx context.Context, rec *Record) (err error) {
	defer func() {
		if v := recover(); v != nil {
			p.deps.Log.Error("deal step panicked", "deal", rec.UUID, "panic", v, "stack", string(debug.Stack()))
			err = manualError("internal error: %v", v)
		}
	}()
	cdp, err := rec.Proposal()
	if err != nil {
		return manualError("%w", err)
	}
	switch rec.Checkpoint {
	case api.DealAccepted:
		return p.transfer(ctx, rec, cdp.Proposal)
	case api.DealTransferred:
		return p.publish(ctx, rec, cdp.Proposal)
	case api.DealPublished:
		return p.confirm(ctx, rec)
	case api.DealPublishConfirmed:
		return p.handOff(ctx, rec, cdp.Proposal)
	case api.DealAddedPiece:
		return p.index(ctx, rec, cdp.Proposal)
	case api.DealIndexed:
		return p.watch(ctx, rec, cdp.Proposal)
	}
	return manualError("unknown checkpoint %q", rec.Checkpoint)
}

// reach makes a checkpoint durable.
func (p *Provider) reach(ctx context.Context, rec *Record, c api.DealCheckpoint, change func(*Record)) error {
	_, err := p.deps.Store.Update(ctx, rec.UUID, func(r *Record) {
		change(r)
		r.Checkpoint, r.Err, r.Retry = c, "", api.DealRetryAuto
		r.logf(time.Now(), "reached %s", c)
	})
	return err
}

// inTime fails a deal whose start epoch is nearer than buffer.
func (p *Provider) inTime(ctx context.Context, prop market.DealProposal, buffer abi.ChainEpoch, doing string) error {
	head, err := p.deps.Chain.ChainHead(ctx)
	if err != nil {
		return fmt.Errorf("getting chain head: %w", err)
	}
	if head.Height+buffer > prop.StartEpoch {
		return fatalError("cannot %s deal with piece CID %s: current epoch %d has passed deal proposal start epoch %d",
			doing, prop.PieceCID, head.Height, prop.StartEpoch)
	}
	return nil
}

func (p *Provider) transfer(ctx context.Context, rec *Record, prop market.DealProposal) error {
	if err := p.inTime(ctx, prop, p.cfg.Policy.PublishBuffer, "transfer"); err != nil {
		return err
	}
	// A server that sends a byte a minute must not hold one of the few places
	// longer than the deal can still be published.
	intime, stop := p.before(ctx, prop.StartEpoch-p.cfg.Policy.PublishBuffer)
	err := p.pull(intime, rec)
	late := intime.Err() != nil && ctx.Err() == nil
	stop()
	if late {
		if err := p.inTime(ctx, prop, p.cfg.Policy.PublishBuffer, "transfer"); err != nil {
			return err
		}
	}
	var fe *transfer.FatalError
	if errors.As(err, &fe) {
		return fatalError("transfer of %s: %w", shown(rec.TransferURL), err)
	}
	if err != nil {
		return fmt.Errorf("transfer of %s: %w", shown(rec.TransferURL), err)
	}
	if err := p.verify(ctx, rec, prop); err != nil {
		return err
	}
	return p.reach(ctx, rec, api.DealTransferred, func(r *Record) { r.Received = r.TransferSize })
}

// shown is a client's URL as it may reach a terminal.
func shown(url string) string { return httpx.Escape(url, 300) }

// pull fetches the payload, as one of a limited number.
func (p *Provider) pull(ctx context.Context, rec *Record) error {
	if err := acquire(ctx, p.transfers); err != nil {
		return err
	}
	defer func() { <-p.transfers }()
	return p.deps.Fetcher.Fetch(ctx, transfer.Request{URL: rec.TransferURL, Headers: rec.Headers, Size: rec.TransferSize,
		Path: p.StagedPath(rec.UUID), Progress: func(n uint64) { p.deps.Store.progress(rec.UUID, n) }})
}

// before ends its context when the chain has passed an epoch. stop waits for its
// goroutine.
func (p *Provider) before(ctx context.Context, last abi.ChainEpoch) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := p.deps.Heads.WaitHeight(ctx, last+1); err == nil {
			cancel()
		}
	}()
	return ctx, func() { cancel(); <-ended }
}

// verify computes the commitment of the staged bytes once.
func (p *Provider) verify(ctx context.Context, rec *Record, prop market.DealProposal) error {
	if rec.VerifiedSize == rec.TransferSize {
		return nil
	}
	if err := acquire(ctx, p.commps); err != nil {
		return err
	}
	defer func() { <-p.commps }()
	f, err := os.Open(p.StagedPath(rec.UUID))
	if err != nil {
		return fmt.Errorf("failed to generate CommP: %w", err)
	}
	defer f.Close()
	piece, err := commp.SumPadded(ctx, f, prop.PieceSize)
	if err != nil {
		return fmt.Errorf("failed to generate CommP: %w", err)
	}
	if !piece.CID.Equals(prop.PieceCID) {
		return p.mismatch(rec, &api.ErrPieceMismatch{Want: prop.PieceCID.String(), Got: piece.CID.String()})
	}
	_, err = p.deps.Store.Update(ctx, rec.UUID, func(r *Record) { r.VerifiedSize = piece.PayloadSize })
	return err
}

// mismatch ends a deal whose payload is wrong, unless it came in parts: then it is
// pulled once more from byte 0, as a part may have been of other bytes.
func (p *Provider) mismatch(rec *Record, wrong error) error {
	again, err := transfer.Restart(p.StagedPath(rec.UUID))
	if err != nil {
		return fmt.Errorf("begin the transfer again: %w", err)
	}
	if again {
		return fmt.Errorf("the payload came in more than one part and they do not fit; it is pulled once more from its first byte (%s)",
			wrong.Error())
	}
	return fatalError("%w", wrong)
}

func acquire(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Provider) publish(ctx context.Context, rec *Record, prop market.DealProposal) error {
	if err := p.inTime(ctx, prop, p.cfg.Policy.PublishBuffer, "publish"); err != nil {
		return err
	}
	c, err := p.deps.Publisher.Publish(ctx, rec.UUID, rec.SignedProposal)
	if err != nil && !api.IsTemporary(err) {
		return manualError("%w", err)
	}
	if err != nil {
		return err
	}
	return p.reach(ctx, rec, api.DealPublished, func(r *Record) { r.PublishCid = &c })
}

func (p *Provider) confirm(ctx context.Context, rec *Record) error {
	final, id, err := p.deps.Publisher.Confirm(ctx, rec.UUID, rec.SignedProposal, *rec.PublishCid)
	var dropped *publish.DroppedError
	if errors.As(err, &dropped) {
		return fatalError("%w", err)
	}
	if err != nil {
		return err
	}
	return p.reach(ctx, rec, api.DealPublishConfirmed, func(r *Record) { r.PublishCid, r.ChainDealID = &final, id })
}

// handOff gives the piece to sealing unless sealing has it already.
func (p *Provider) handOff(ctx context.Context, rec *Record, prop market.DealProposal) error {
	at, err := p.deps.Sealing.SectorPlacement(ctx, rec.UUID.String())
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		if err := p.inTime(ctx, prop, 0, "seal"); err != nil {
			return err
		}
		at, err = p.deps.Sealing.SectorAddPiece(ctx, p.pieceRequest(rec, prop))
	}
	var mismatch *api.ErrPieceMismatch
	var invalid *api.ErrInvalid
	if errors.As(err, &mismatch) || errors.As(err, &invalid) {
		return manualError("sealing refused the piece: %w", err)
	}
	if err != nil {
		return fmt.Errorf("add piece to a sector: %w", err)
	}
	return p.reach(ctx, rec, api.DealAddedPiece, func(r *Record) {
		r.Placement = &at
		r.logf(time.Now(), "piece is in sector %d at %d", at.Sector.Number, at.Offset)
	})
}

func (p *Provider) pieceRequest(rec *Record, prop market.DealProposal) api.AddPieceRequest {
	return api.AddPieceRequest{
		Key:   rec.UUID.String(),
		Piece: abi.PieceInfo{Size: prop.PieceSize, PieceCID: prop.PieceCID},
		Deal: api.PieceDealInfo{DealID: rec.ChainDealID, PublishCid: rec.PublishCid, DealProposal: &prop,
			StartEpoch: prop.StartEpoch, EndEpoch: prop.EndEpoch, KeepUnsealed: !rec.RemoveUnsealed},
		Data: api.DataRef{URL: p.cfg.StagedBaseURL + "/staged/" + rec.UUID.String(), Token: rec.StagedToken, Size: rec.TransferSize},
	}
}

// index records the piece and its blocks, then lets go of the staged bytes:
// sealing has them, as SectorAddPiece returns only after it pulled them.
func (p *Provider) index(ctx context.Context, rec *Record, prop market.DealProposal) error {
	if err := p.deps.Index.AddDeal(ctx, prop.PieceCID, rec.UUID, rec.TransferSize, *rec.Placement); err != nil {
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

// watch follows the sector until the deal is active on chain.
func (p *Provider) watch(ctx context.Context, rec *Record, prop market.DealProposal) error {
	p.removeStaged(rec.UUID)
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

func (p *Provider) look(ctx context.Context, rec *Record, prop market.DealProposal, now abi.ChainEpoch) (bool, error) {
	// A sealing side that is down must not hide that the deal is active.
	if err := p.followSector(ctx, rec); err != nil {
		return false, err
	}
	deal, err := p.deps.Chain.StateMarketStorageDeal(ctx, rec.ChainDealID, nil)
	switch {
	case err == nil && deal.State.SlashEpoch > -1:
		return false, fatalError("deal %d was slashed at epoch %d", rec.ChainDealID, deal.State.SlashEpoch)
	case err == nil && deal.State.SectorStartEpoch > -1:
		return true, p.reach(ctx, rec, api.DealComplete, func(r *Record) {
			r.Active, r.SectorStart = true, deal.State.SectorStartEpoch
		})
	case now > prop.StartEpoch+p.cfg.PollEpochs:
		return false, fatalError("deal with piece CID %s was not activated by proposed deal start epoch %d", prop.PieceCID, prop.StartEpoch)
	case err != nil:
		return false, fmt.Errorf("read deal %d: %w", rec.ChainDealID, err)
	}
	return false, nil
}
