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
		at = min(at, start-s.cfg.StartEpochSealingBuffer)
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
	return event{Kind: evDropped, Seq: p.Seq, Filler: commp.ZeroPiece(p.Info.Size), Reason: t.failure.Text, Failure: t.failure}, nil
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

// pieceError is the outcome for the callers of one key; nil err = placed.
type pieceError struct {
	at  api.PiecePlacement
	err error
}

// settle keeps the key index true and answers waiting callers. Holds mu.
func (s *Sealing) settle(before, after record, ev event) {
	switch ev.Kind {
	case evReserved, evUpdateLanded:
		s.indexKeys(after)
	case evPlaced:
		for _, p := range after.Pieces {
			if p.Seq == ev.Seq && !p.filler() {
				s.answer(p.Key, pieceError{at: s.placement(after, p)})
			}
		}
	case evDropped:
		for _, p := range before.Pieces {
			if p.Seq == ev.Seq {
				delete(s.keys, p.Key)
				s.answer(p.Key, pieceError{err: s.dropError(before, p, ev.Failure)})
			}
		}
	case evRemove, evFatal, evAbort:
		s.disown(after, ev)
	}
}

// disown makes the pieces of a sector that will never be proven homeless, so
// that their owners can place them again.
func (s *Sealing) disown(r record, ev event) {
	for _, p := range r.Pieces {
		if p.filler() {
			continue
		}
		delete(s.keys, p.Key)
		s.answer(p.Key, pieceError{err: &api.ErrBusy{What: "piece " + p.Key,
			Reason: fmt.Sprintf("sector %s was given up (%s)", s.name(r.Number), ev.Kind)}})
	}
}

func (s *Sealing) answer(key string, res pieceError) {
	for _, ch := range s.waiters[key] {
		ch <- res // buffered, one answer each
	}
	delete(s.waiters, key)
}

func (s *Sealing) indexKeys(r record) {
	switch r.State {
	case api.SectorRemoving, api.SectorRemoved, api.SectorFailedForGood, api.SectorAbortUpgrade:
		return
	}
	for _, p := range r.Pieces {
		if !p.filler() {
			s.keys[p.Key] = r.Number
		}
	}
}

func (s *Sealing) placement(r record, p piece) api.PiecePlacement {
	return api.PiecePlacement{Sector: s.id(r.Number), Offset: p.Offset, Size: p.Info.Size}
}

// dropError is the typed reason for which a piece was given back.
func (s *Sealing) dropError(r record, p piece, f *api.Failure) error {
	var mismatch *api.ErrPieceMismatch
	switch {
	case errors.As(f, &mismatch):
		return mismatch
	case r.Attempts[job{kind: jobAddPiece, piece: p.Seq}]+1 >= pieceTries:
		return &api.ErrBusy{What: "piece " + p.Key, Reason: fmt.Sprintf("its data could not be had in %d tries: %s", pieceTries, f.Text)}
	}
	return &api.ErrInvalid{What: "piece " + p.Key, Reason: f.Text, Hint: "offer it again with data that can be read"}
}
