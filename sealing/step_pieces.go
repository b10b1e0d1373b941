package sealing

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/commp"
)

// pieceTries is how many tasks, each with its own retries, the bytes of one
// piece are given before it goes back to its owner, who will offer it again
// when it can be had.
const pieceTries = 3

// waitDeals holds an open sector until one of the reasons to pack it comes.
func (s *Sealing) waitDeals(ctx context.Context, l *lane, r record) (event, error) {
	reason, at := s.packReason(r)
	if reason != "" {
		return event{Kind: evStart, Reason: reason}, nil
	}
	if at < 0 { // empty: only a piece or the operator changes that
		select {
		case <-l.wake:
		case <-ctx.Done():
		}
		return event{}, nil
	}
	reached, err := s.awaitHeight(ctx, l, at)
	if err != nil && ctx.Err() == nil {
		return event{}, fmt.Errorf("wait for epoch %d: %w", at, err)
	}
	if !reached {
		return event{}, nil
	}
	return event{Kind: evStart, Reason: fmt.Sprintf("epoch %d reached", at)}, nil
}

// packReason says why the sector should be packed now, or at which epoch it
// will have to be; -1 when nothing presses.
func (s *Sealing) packReason(r record) (string, abi.ChainEpoch) {
	switch {
	case r.deals() == 0:
		return "", -1
	case r.StartRequested:
		return "asked for", 0
	case r.end() >= abi.PaddedPieceSize(s.size):
		return "full", 0
	case r.deals() >= s.cfg.MaxDealsPerSector:
		return "as many deals as a sector takes", 0
	}
	at := r.FirstPiece + s.cfg.WaitDealsDelay
	if start, _, ok := r.dealSpan(); ok {
		before := s.cfg.StartEpochSealingBuffer
		if r.Update != nil {
			before = max(before, r.Update.Lead)
		}
		at = min(at, start-before)
	}
	return "", max(at, 0)
}

// placeNext has the first piece that is not in the unsealed file put there.
func (s *Sealing) placeNext(ctx context.Context, l *lane, r record) (event, error) {
	i := r.unplaced()
	if i < 0 {
		return event{Kind: evPlaced, Seq: r.NextSeq}, nil // nothing to do: the machine moves on
	}
	p := r.Pieces[i]
	add := job{kind: jobAddPiece, piece: p.Seq}
	_, err := run(ctx, s, l, r, keyed[api.AddPieceParams, abi.PieceInfo]{
		task:   api.AddPiece,
		job:    add,
		rest:   fmt.Sprint(p.Seq),
		params: api.AddPieceParams{Existing: r.infos()[:i], Piece: p.Info, Data: p.Data},
	})
	if err == nil {
		return event{Kind: evPlaced, Seq: p.Seq, Reason: p.Info.PieceCID.String()}, nil
	}
	var t *taskError
	if !errors.As(err, &t) || p.filler() {
		return event{}, asFailure(err)
	}
	if t.failure.Retryable && r.Attempts[add]+1 < pieceTries {
		return event{}, asFailure(err)
	}
	return event{
		Kind:    evDropped,
		Seq:     p.Seq,
		Filler:  commp.ZeroPiece(p.Info.Size),
		Reason:  t.failure.Text,
		Failure: t.failure,
	}, nil
}

// pack fills the sector up with zeros and has them written.
func (s *Sealing) pack(ctx context.Context, l *lane, r record) (event, error) {
	if r.CC && r.Update == nil {
		return event{Kind: evPacked}, nil // no unsealed file: PC1 takes none for zeros
	}
	if r.end() < abi.PaddedPieceSize(s.size) {
		fill := fillers(r.end(), abi.PaddedPieceSize(s.size))
		number(fill, r.NextSeq)
		return event{Kind: evPlanned, Pieces: fill}, nil
	}
	if r.unplaced() >= 0 {
		return s.placeNext(ctx, l, r)
	}
	return event{Kind: evPacked}, nil
}
