package sealing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"quarry/api"
)

// givenUp is a piece that had, or was promised, a place in a sector and has lost
// it. The note outlives the piece in the plan: its owner may ask months later,
// and the key must not be planned again while a copy of it may still be about.
type givenUp struct {
	Key    string
	Reason string
	Time   time.Time
}

// giveUp notes every piece of the plan as given up, in the same write as the
// event that costs them their place.
func (r *record) giveUp(e event) {
	for _, p := range r.Pieces {
		if p.filler() || r.gaveUp(p.Key) >= 0 {
			continue
		}
		r.GivenUp = append(r.GivenUp, givenUp{Key: p.Key, Reason: because(e), Time: e.Now})
	}
}

// takeBack is for the sector that the chain took after all: what it holds has
// its place again.
func (r *record) takeBack() {
	r.GivenUp = slices.DeleteFunc(r.GivenUp, func(g givenUp) bool {
		return slices.ContainsFunc(r.Pieces, func(p piece) bool { return p.Key == g.Key })
	})
}

func (r *record) gaveUp(key string) int {
	return slices.IndexFunc(r.GivenUp, func(g givenUp) bool { return g.Key == key })
}

func because(e event) string {
	switch {
	case e.Kind == evAbort:
		return "the update was given up: " + e.Reason
	case e.Kind == evRemove:
		return "the sector was removed: " + e.Reason
	case e.Reason == "":
		return string(e.Kind)
	}
	return e.Reason
}

// SectorPlacement says where the piece of a key is, once its bytes are there,
// and that it must be placed again when its sector has given it up.
func (s *Sealing) SectorPlacement(_ context.Context, key string) (api.PiecePlacement, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, p, ok := s.planned(key)
	if ok && p.Placed {
		return s.placement(l.rec, p), nil
	}
	if gone := s.gone(key); gone != nil {
		return api.PiecePlacement{}, gone
	}
	if err := s.perhapsPlanned(key); err != nil { // it must not be placed again before that is known
		return api.PiecePlacement{}, err
	}
	return api.PiecePlacement{}, &api.ErrNotFound{What: "placement of piece " + key}
}

// gone is the typed answer for a key that was given up, nil for others. Callers
// hold mu.
func (s *Sealing) gone(key string) error {
	n, ok := s.lost[key]
	if !ok {
		return nil
	}
	out := &api.ErrGivenUp{What: "piece " + key, Sector: s.name(n)}
	r := s.lanes[n].rec
	if i := r.gaveUp(key); i >= 0 {
		out.Reason = r.GivenUp[i].Reason
	} else { // written before reasons were kept
		out.Reason = fmt.Sprintf("it is in state %s", r.State)
	}
	return out
}

// elsewhere refuses a piece that is to be placed again while the deal is still
// in some plan: two sectors with one deal would stop each other on chain.
// Callers hold mu.
func (s *Sealing) elsewhere(r api.AddPieceRequest) error {
	if r.Deal.Attempt == 0 {
		return nil
	}
	for key, n := range s.keys {
		_, p, ok := s.planned(key)
		if ok && key != r.Key && p.Deal != nil && p.Deal.DealID == r.Deal.DealID && p.Info == r.Piece {
			reason := fmt.Sprintf("deal %d still has a place in %s, under key %s", r.Deal.DealID, s.name(n), key)
			return &api.ErrBusy{What: "piece " + r.Key, Reason: reason}
		}
	}
	return nil
}

// pieceError is the outcome for the callers of one key; nil err = placed.
type pieceError struct {
	at  api.PiecePlacement
	err error
}

// settle keeps the key index true and answers waiting callers. Holds mu.
func (s *Sealing) settle(before, after record, ev event) {
	switch ev.Kind {
	case evReserved, evUpdateLanded, evActive:
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
		s.indexKeys(after)
		for _, p := range after.Pieces {
			if !p.filler() {
				s.answer(p.Key, pieceError{err: s.gone(p.Key)})
			}
		}
	}
}

func (s *Sealing) answer(key string, res pieceError) {
	for _, ch := range s.waiters[key] {
		ch <- res // buffered, one answer each
	}
	delete(s.waiters, key)
}

// indexKeys makes the keys of a sector found: those it holds, and those it has
// given up. A key that was placed again elsewhere stays with that sector.
func (s *Sealing) indexKeys(r record) {
	hopeless := false
	switch r.State {
	case api.SectorRemoving, api.SectorRemoved, api.SectorFailedForGood, api.SectorAbortUpgrade:
		hopeless = true
	}
	for _, g := range r.GivenUp {
		s.lose(g.Key, r)
	}
	for _, p := range r.Pieces {
		switch {
		case p.filler() || r.gaveUp(p.Key) >= 0:
		case hopeless:
			s.lose(p.Key, r)
		default:
			s.keys[p.Key] = r.Number
			delete(s.lost, p.Key)
		}
	}
}

func (s *Sealing) lose(key string, r record) {
	s.lost[key] = r.Number
	if n, ok := s.keys[key]; ok && n == r.Number {
		delete(s.keys, key)
	}
}

func (s *Sealing) placement(r record, p piece) api.PiecePlacement {
	return api.PiecePlacement{Sector: s.id(r.Number), Offset: p.Offset, Size: p.Info.Size}
}

// dropError is the typed reason for which a piece was given back. Only bytes
// that are not those of the commitment are held against the piece; whatever
// else went wrong is a trouble of this side, and the piece may be offered again.
func (s *Sealing) dropError(r record, p piece, f *api.Failure) error {
	var mismatch *api.ErrPieceMismatch
	if errors.As(f, &mismatch) {
		return mismatch
	}
	tries := r.Attempts[job{kind: jobAddPiece, piece: p.Seq}] + 1
	return &api.ErrBusy{What: "piece " + p.Key, Reason: fmt.Sprintf("its data could not be put into a sector (%d tries): %s", tries,
		f.Text)}
}
