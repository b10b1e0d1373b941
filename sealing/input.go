package sealing

import (
	"context"
	"fmt"
	"slices"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"quarry/api"
)

// maxKey bounds the length of a caller's key, in bytes.
const maxKey = 256

// SectorAddPiece plans the piece into an open sector, or a new one, and waits
// until its bytes are there. A second call with the same key joins the first.
func (s *Sealing) SectorAddPiece(ctx context.Context, r api.AddPieceRequest) (api.PiecePlacement, error) {
	if err := s.checkPiece(r); err != nil {
		return api.PiecePlacement{}, err
	}
	ch, at, err := s.joinOrReserve(ctx, r)
	if ch == nil || err != nil {
		return at, err
	}
	select {
	case res := <-ch:
		return res.at, res.err
	case <-ctx.Done():
		s.leave(r.Key, ch)
		return api.PiecePlacement{}, fmt.Errorf("piece %s is still being fetched, repeat the call with the same key: %w", r.Key, ctx.Err())
	}
}

func (s *Sealing) checkPiece(r api.AddPieceRequest) error {
	what := "piece " + r.Key
	switch {
	case r.Key == "" || len(r.Key) > maxKey:
		return &api.ErrInvalid{What: "piece", Reason: fmt.Sprintf("the key must have 1 to %d bytes", maxKey)}
	case r.Piece.Size.Validate() != nil:
		return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("%d bytes is no padded piece size", r.Piece.Size),
			Hint: "piece sizes are powers of two from 128"}
	case r.Piece.Size > abi.PaddedPieceSize(s.size):
		return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("%d bytes do not fit a sector of %d", r.Piece.Size, s.size)}
	case r.Data.Size > uint64(r.Piece.Size.Unpadded()):
		return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("%d payload bytes do not fit a piece of %d", r.Data.Size, r.Piece.Size)}
	case r.Deal.EndEpoch <= r.Deal.StartEpoch:
		return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("the deal ends at %d, before it starts at %d", r.Deal.EndEpoch,
			r.Deal.StartEpoch)}
	}
	if _, err := commcid.CIDToDataCommitmentV1(r.Piece.PieceCID); err != nil {
		return &api.ErrInvalid{What: what, Reason: "the piece CID is no data commitment: " + err.Error()}
	}
	return s.checkProposal(r)
}

// checkProposal refuses a deal that this miner can never activate: one of another
// provider, from a markets node that took this node for its own, or one that is
// about another piece.
func (s *Sealing) checkProposal(r api.AddPieceRequest) error {
	p := r.Deal.DealProposal
	if p == nil {
		return nil // the chain is asked about the deal before anything is committed
	}
	what := fmt.Sprintf("piece %s of deal %d", r.Key, r.Deal.DealID)
	switch {
	case p.Provider != s.cfg.Miner:
		return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("the deal is with provider %s, this node seals for %s", p.Provider,
			s.cfg.Miner),
			Hint: "name the private node of " + p.Provider.String() + " as SealerApiInfo and SectorIndexApiInfo of the markets node"}
	case p.PieceCID != r.Piece.PieceCID || p.PieceSize != r.Piece.Size:
		return &api.ErrInvalid{What: what,
			Reason: fmt.Sprintf("the deal is about %s of %d bytes, the piece is %s of %d", p.PieceCID, p.PieceSize,
				r.Piece.PieceCID, r.Piece.Size)}
	}
	return nil
}

// checkDeal refuses deals that cannot be met from now on. It is asked only for
// pieces that are not planned yet.
func (s *Sealing) checkDeal(r api.AddPieceRequest, now abi.ChainEpoch) error {
	d := r.Deal
	if d.StartEpoch < now+s.cfg.MinDealLead {
		return &api.ErrInvalid{What: "piece " + r.Key,
			Reason: fmt.Sprintf("deal %d starts at epoch %d, too near at %d (sealing needs %d epochs)", d.DealID, d.StartEpoch, now,
				s.cfg.MinDealLead)}
	}
	if d.EndEpoch > now+miner.MaxSectorExpirationExtension {
		return &api.ErrInvalid{What: "piece " + r.Key,
			Reason: fmt.Sprintf("deal %d ends at epoch %d, later than any sector may live", d.DealID, d.EndEpoch)}
	}
	return nil
}

// joinOrReserve answers at once when the piece is placed, else returns the
// channel on which the outcome comes.
func (s *Sealing) joinOrReserve(ctx context.Context, r api.AddPieceRequest) (chan pieceError, api.PiecePlacement, error) {
	s.alloc.Lock()
	defer s.alloc.Unlock()
	if ch, at, found, err := s.join(ctx, r); found || err != nil {
		return ch, at, err
	}
	if err := s.provable(); err != nil {
		return nil, api.PiecePlacement{}, err
	}
	head, err := s.head(ctx)
	if err != nil {
		return nil, api.PiecePlacement{}, err
	}
	if err := s.checkDeal(r, head.Height); err != nil {
		return nil, api.PiecePlacement{}, err
	}
	for range 3 { // the sector chosen may close before the plan is written
		l, err := s.openSector(ctx, r, head.Height)
		if err != nil {
			return nil, api.PiecePlacement{}, err
		}
		ch, ok, err := s.reserve(ctx, l, r, head.Height)
		if ok || err != nil {
			return ch, api.PiecePlacement{}, err
		}
	}
	return nil, api.PiecePlacement{}, &api.ErrBusy{What: "piece " + r.Key, Reason: "sectors close faster than it can be planned"}
}

// reserve writes the piece into the sector's plan, which wakes the sector. It
// is not ok when the sector takes no more.
func (s *Sealing) reserve(ctx context.Context, l *lane, r api.AddPieceRequest, now abi.ChainEpoch) (chan pieceError, bool, error) {
	deal := r.Deal
	p := piece{Info: r.Piece, Key: r.Key, Deal: &deal, Data: r.Data}
	s.mu.Lock()
	defer s.mu.Unlock()
	pieces, _, ok := plan(l.rec, p, abi.PaddedPieceSize(s.size))
	if !ok || !accepts(l.rec) {
		return nil, false, nil
	}
	ch := s.listen(r.Key)
	ev := event{Kind: evReserved, Pieces: pieces, Epoch: now, Reason: r.Key}
	if err := s.outside(ctx, l, ev); err != nil {
		s.unlisten(r.Key, ch)
		return nil, false, fmt.Errorf("plan piece %s: %w", r.Key, err)
	}
	return ch, true, nil
}

// join finds a piece that is planned already.
func (s *Sealing) join(ctx context.Context, r api.AddPieceRequest) (ch chan pieceError, at api.PiecePlacement, found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, p, ok := s.planned(r.Key)
	if !ok {
		if err := s.gone(r.Key); err != nil {
			return nil, at, true, err
		}
		if err := s.perhapsPlanned(r.Key); err != nil {
			return nil, at, true, err
		}
		return nil, at, false, s.elsewhere(r)
	}
	if p.Info != r.Piece {
		return nil, at, true, &api.ErrInvalid{What: "piece " + r.Key,
			Reason: fmt.Sprintf("the key was used before for %s of %d bytes", p.Info.PieceCID, p.Info.Size)}
	}
	if p.Placed {
		return nil, s.placement(l.rec, p), true, nil
	}
	if p.Data != r.Data { // the source moved: the next try uses the new one
		rec := l.rec.clone()
		rec.Pieces[slices.IndexFunc(rec.Pieces, func(q piece) bool { return q.Seq == p.Seq })].Data = r.Data
		if err := s.store.put(ctx, rec); err != nil {
			return nil, at, true, err
		}
		l.rec = rec
		if l.stop != nil && l.rec.State == api.SectorAddPiece {
			l.stop() // the task is submitted again, with the new source
		}
	}
	return s.listen(r.Key), at, true, nil
}

// planned finds a key's piece. Callers hold mu.
func (s *Sealing) planned(key string) (*lane, piece, bool) {
	n, ok := s.keys[key]
	if !ok {
		return nil, piece{}, false
	}
	l := s.lanes[n]
	for _, p := range l.rec.Pieces {
		if p.Key == key {
			return l, p, true
		}
	}
	return nil, piece{}, false
}

func (s *Sealing) listen(key string) chan pieceError {
	ch := make(chan pieceError, 1)
	s.waiters[key] = append(s.waiters[key], ch)
	return ch
}

func (s *Sealing) unlisten(key string, ch chan pieceError) {
	s.waiters[key] = slices.DeleteFunc(s.waiters[key], func(c chan pieceError) bool { return c == ch })
	if len(s.waiters[key]) == 0 {
		delete(s.waiters, key)
	}
}

func (s *Sealing) leave(key string, ch chan pieceError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlisten(key, ch)
}

// accepts tells whether a sector's plan may still grow.
func accepts(r record) bool {
	switch r.State {
	case api.SectorWaitDeals, api.SectorAddPiece:
		return !r.CC && !r.StartRequested
	case api.SectorSnapWaitDeals, api.SectorSnapAddPiece:
		return !r.StartRequested
	}
	return false
}

// openSector is the open sector that wastes least on the piece, the oldest of
// equals, or else one marked for an update, or a new one. Callers hold alloc.
func (s *Sealing) openSector(ctx context.Context, r api.AddPieceRequest, now abi.ChainEpoch) (*lane, error) {
	s.mu.Lock()
	best, open := s.bestFit(r, now)
	s.mu.Unlock()
	if best != nil {
		return best, nil
	}
	if m := s.cfg.MaxWaitDealsSectors; m > 0 && open >= m {
		return nil, &api.ErrBusy{What: "sealing", Reason: fmt.Sprintf("%d sectors wait for deals, MaxWaitDealsSectors is %d", open, m)}
	}
	if l, err := s.upgradable(ctx, r.Deal); l != nil || err != nil {
		return l, err
	}
	return s.newSector(ctx, record{State: api.SectorWaitDeals})
}

func (s *Sealing) bestFit(r api.AddPieceRequest, now abi.ChainEpoch) (best *lane, open int) {
	var least abi.PaddedPieceSize
	for _, l := range s.lanes {
		if !accepts(l.rec) {
			continue
		}
		open++
		_, pad, ok := plan(l.rec, piece{Info: r.Piece}, abi.PaddedPieceSize(s.size))
		if !ok || l.rec.deals() >= s.cfg.MaxDealsPerSector || !compatible(l.rec, r.Deal, now) {
			continue
		}
		if best == nil || pad < least || pad == least && l.rec.Number < best.rec.Number {
			best, least = l, pad
		}
	}
	return best, open
}

// compatible keeps deals apart that no one sector can serve: the sector lives
// until the last of them ends, or as long as it was sealed for, and an update
// has to be on chain before the first of them starts.
func compatible(r record, d api.PieceDealInfo, now abi.ChainEpoch) bool {
	if r.Update != nil && (d.EndEpoch > r.Expiration || d.StartEpoch < now+r.Update.Lead) {
		return false
	}
	start, end, ok := r.dealSpan()
	return !ok || max(end, d.EndEpoch)-min(start, d.StartEpoch) <= miner.MaxSectorExpirationExtension
}

// newSector takes the next number that neither the store nor the chain knows.
// Callers hold alloc.
func (s *Sealing) newSector(ctx context.Context, r record) (*lane, error) {
	s.mu.Lock()
	n := abi.SectorNumber(0)
	if len(s.numbers) > 0 {
		n = s.numbers[len(s.numbers)-1] + 1
	}
	err := s.room()
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	n, err = s.freeNumber(ctx, n)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	r.Number, r.ProofType = n, s.cfg.ProofType
	r.Created, r.Updated = now, now
	r.note(now, "created")
	if err := s.store.put(ctx, r); err != nil {
		return nil, err
	}
	l := &lane{rec: r, wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLane(l)
	s.kick(l)
	return l, nil
}

// room refuses when as many sectors are at work as may be. Callers hold mu.
func (s *Sealing) room() error {
	busy := 0
	for _, l := range s.lanes {
		if inProgress(l.rec.State) {
			busy++
		}
	}
	if m := s.cfg.MaxSealing; m > 0 && busy >= m {
		return &api.ErrBusy{What: "sealing", Reason: fmt.Sprintf("too many sectors sealing (%d, MaxSealingSectors is %d)", busy, m)}
	}
	return nil
}

func (s *Sealing) freeNumber(ctx context.Context, n abi.SectorNumber) (abi.SectorNumber, error) {
	head, err := s.head(ctx)
	if err != nil {
		return 0, err
	}
	for ; ; n++ {
		used, err := s.deps.Chain.StateMinerSectorAllocated(ctx, s.cfg.Miner, n, head.Key())
		if err != nil {
			return 0, fmt.Errorf("ask whether sector number %d is used: %w", n, err)
		}
		if !used {
			return n, nil
		}
	}
}

func inProgress(st api.SectorState) bool {
	switch st {
	case api.SectorProving, api.SectorAvailable, api.SectorRemoved, api.SectorRemoving, api.SectorFailedForGood:
		return false
	}
	return true
}
