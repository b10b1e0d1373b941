package deals

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/internal/printable"
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
		if uerr := p.failed(ctx, rec, err); uerr != nil { // nothing is over that is not written down
			p.deps.Log.Error("cannot record a failed deal step", "deal", id, "error", uerr)
		} else if classOf(err) != api.DealRetryAuto {
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
	class, fault, text := classOf(err), faultOf(err), bounded(err.Error())
	_, uerr := p.deps.Store.Update(ctx, rec.UUID, func(r *Record) {
		if r.Err != text {
			r.logf(time.Now(), "%s failed (%s): %s", stepName(r.Checkpoint), class, text)
		}
		r.Err, r.Fault, r.Retry = text, fault, class
		if class == api.DealRetryFatal {
			r.Checkpoint = api.DealComplete
		}
	})
	if uerr == nil && class == api.DealRetryFatal {
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
func (p *Provider) step(ctx context.Context, rec *Record) error {
	return p.catch.Do("the "+stepName(rec.Checkpoint)+" of deal "+rec.UUID.String(), func() error { return p.work(ctx, rec) })
}

func (p *Provider) work(ctx context.Context, rec *Record) error {
	cdp, err := rec.Proposal()
	if err != nil {
		return err
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
	return fmt.Errorf("checkpoint %q is not known to this version; run the one that wrote it", rec.Checkpoint)
}

// reach makes a checkpoint durable.
func (p *Provider) reach(ctx context.Context, rec *Record, c api.DealCheckpoint, change func(*Record)) error {
	_, err := p.deps.Store.Update(ctx, rec.UUID, func(r *Record) {
		change(r)
		r.Checkpoint, r.Retry = c, api.DealRetryAuto
		r.Err, r.Fault = "", ""
		r.logf(time.Now(), "reached %s", c)
	})
	return err
}

// inTime fails a deal whose start epoch is nearer than buffer. Whose fault that
// is, is that of the last trouble; where there was none it is ours.
func (p *Provider) inTime(ctx context.Context, rec *Record, prop market.DealProposal, buffer abi.ChainEpoch, doing string) error {
	head, err := p.deps.Chain.ChainHead(ctx)
	if err != nil {
		return fmt.Errorf("getting chain head: %w", err)
	}
	if head.Height+buffer > prop.StartEpoch {
		return late(rec, "cannot %s deal with piece CID %s: current epoch %d has passed deal proposal start epoch %d",
			doing, prop.PieceCID, head.Height, prop.StartEpoch)
	}
	return nil
}

// late ends a deal that time has run out for, and says through whom.
func late(rec *Record, format string, args ...any) error {
	whose, fault := "the provider", api.FaultStore
	if rec.Fault == api.FaultCaller {
		whose, fault = "the client", api.FaultCaller
	}
	text := fmt.Sprintf(format, args...) + "; through " + whose
	if rec.Err != "" {
		text += ", whose last trouble was: " + rec.Err
	}
	return &classError{api.DealRetryFatal, fault, errors.New(text)}
}

func (p *Provider) transfer(ctx context.Context, rec *Record, prop market.DealProposal) error {
	if err := p.inTime(ctx, rec, prop, p.cfg.Policy.PublishBuffer, "transfer"); err != nil {
		return err
	}
	// A server that sends a byte a minute must not hold one of the few places
	// longer than the deal can still be published.
	intime, stop := p.before(ctx, prop.StartEpoch-p.cfg.Policy.PublishBuffer)
	err := p.pull(intime, rec)
	late := intime.Err() != nil && ctx.Err() == nil
	stop()
	if late {
		if !errors.Is(err, errQueued) { // it had its place: the client's server was too slow
			rec.Err, rec.Fault = fmt.Sprintf("transfer of %s: the server did not send all of it in time",
				shown(rec.TransferURL)), api.FaultCaller
		}
		if err := p.inTime(ctx, rec, prop, p.cfg.Policy.PublishBuffer, "transfer"); err != nil {
			return err
		}
	}
	if err != nil {
		return transferError(rec, err)
	}
	if err := p.verify(ctx, rec, prop); err != nil {
		return err
	}
	return p.reach(ctx, rec, api.DealTransferred, func(r *Record) { r.Received = r.TransferSize })
}

var errQueued = errors.New("waits for one of the places that transfers have")

// shown is a client's URL as it may reach a terminal.
func shown(url string) string { return printable.Escape(withoutSecrets(url), 300) }

// pull fetches the payload, as one of a limited number.
func (p *Provider) pull(ctx context.Context, rec *Record) error {
	if err := acquire(ctx, p.transfers); err != nil {
		return fmt.Errorf("%w: %w", errQueued, err)
	}
	defer func() { <-p.transfers }()
	return p.deps.Fetcher.Fetch(ctx, transfer.Request{
		URL:      rec.TransferURL,
		Headers:  rec.Headers,
		Size:     rec.TransferSize,
		Path:     p.StagedPath(rec.UUID),
		Progress: func(n uint64) { p.deps.Store.progress(rec.UUID, n) },
	})
}

// transferError says whose trouble a transfer was.
func transferError(rec *Record, err error) error {
	var fe *transfer.FatalError
	if errors.As(err, &fe) {
		return fatalError("transfer of %s: %w", shown(rec.TransferURL), err)
	}
	err = fmt.Errorf("transfer of %s: %w", shown(rec.TransferURL), err)
	if ownDisk(err) {
		return err
	}
	return &classError{api.DealRetryAuto, api.FaultCaller, err}
}

// ownDisk tells whether a transfer failed in a file of ours.
func ownDisk(err error) bool {
	var path *fs.PathError
	var sys syscall.Errno
	var fetch *httpx.Error
	if errors.As(err, &path) || errors.As(err, &fetch) && fetch.Fault == httpx.FaultLocal {
		return true
	}
	return errors.As(err, &sys) && slices.Contains([]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO}, sys)
}

// before ends its context when the chain has passed an epoch. stop waits for its
// goroutine.
func (p *Provider) before(ctx context.Context, last abi.ChainEpoch) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := p.catch.Do("waiting for an epoch", func() error {
			_, err := p.deps.Heads.WaitHeight(ctx, last+1)
			return err
		})
		if err == nil {
			cancel()
		}
	}()
	return ctx, func() { cancel(); <-ended }
}

// verify computes the commitment of the staged bytes once.
func (p *Provider) verify(ctx context.Context, rec *Record, prop market.DealProposal) error {
	err := p.sum(ctx, rec, prop)
	var wrong *api.ErrPieceMismatch
	if errors.As(err, &wrong) {
		return p.mismatch(rec, wrong)
	}
	return err
}

func (p *Provider) sum(ctx context.Context, rec *Record, prop market.DealProposal) error {
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
		return &api.ErrPieceMismatch{Want: prop.PieceCID.String(), Got: piece.CID.String()}
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
	if err := p.inTime(ctx, rec, prop, p.cfg.Policy.PublishBuffer, "publish"); err != nil {
		return err
	}
	c, err := p.deps.Publisher.Publish(ctx, rec.UUID, rec.SignedProposal)
	var refused *publish.RefusedError
	if errors.As(err, &refused) { // by the market actor; trying again costs money
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
	return p.reach(ctx, rec, api.DealPublishConfirmed, func(r *Record) {
		r.PublishCid, r.ChainDealID, r.Confirmed = &final, id, true
	})
}
