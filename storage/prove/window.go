package prove

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/proofs/post"
)

// ProveWindow makes the vanilla window proof over the sectors that can be read
// within the limits; the others come back as skipped, ascending, each with its
// reason. With nothing readable the proof is empty. A sector listed twice is
// proved once; if the two differ it is post.ErrTwice.
func (p *Prover) ProveWindow(ctx context.Context, r api.WindowPoStRequest) (api.WindowPoStResult, error) {
	list, err := distinct(r.Sectors)
	if err != nil {
		return api.WindowPoStResult{}, fmt.Errorf("window proof of miner %d: %w", r.Miner, err)
	}
	inner, cancel := within(ctx, r.Limit)
	defer cancel()
	blobs, faults := each(list, func(info proof.SectorInfo) ([]byte, *api.SectorFault) {
		s := sector{id: abi.SectorID{Miner: r.Miner, Number: info.SectorNumber}, info: info}
		return p.one(inner, s, oneOf(r.Miner, r.Randomness))
	})
	if err := context.Cause(ctx); err != nil {
		return api.WindowPoStResult{}, err
	}
	out := api.WindowPoStResult{Skipped: faults}
	if out.Vanilla, err = post.JoinWindow(list[0].SealProof, blobs...); err != nil {
		return api.WindowPoStResult{}, fmt.Errorf("window proof over %d sectors of miner %d: %w", len(list), r.Miner, err)
	}
	return out, nil
}

// one reads a sector and says what is wrong with it.
func (p *Prover) one(ctx context.Context, s sector, do work[[]byte]) ([]byte, *api.SectorFault) {
	v, err := read(ctx, p, s, do)
	if err == nil {
		return v, nil
	}
	f := err.fault(s.id.Number)
	p.deps.Log.Error("sector cannot be proved", "sector", api.SectorName(s.id), "reason", f.Reason, "path", f.Path, "err", f.Detail)
	return nil, &f
}

// each does f with every item at the same time; the places of the paths are the
// bound. Faults come ascending.
func each[S, T any](list []S, f func(S) (T, *api.SectorFault)) (out []T, faults []api.SectorFault) {
	out = make([]T, len(list))
	bad := make([]*api.SectorFault, len(list))
	var all sync.WaitGroup
	for i, s := range list {
		all.Go(func() { out[i], bad[i] = f(s) })
	}
	all.Wait()
	faults = []api.SectorFault{}
	for _, b := range bad {
		if b != nil {
			faults = append(faults, *b)
		}
	}
	slices.SortFunc(faults, func(a, b api.SectorFault) int { return cmp.Compare(a.Sector, b.Sector) })
	return out, faults
}

// distinct lists each sector once. All must be of one size.
func distinct(in []proof.SectorInfo) ([]proof.SectorInfo, error) {
	if len(in) == 0 {
		return nil, post.ErrNoSectors
	}
	size, err := in[0].SealProof.SectorSize()
	if err != nil {
		what := fmt.Sprintf("seal proof type %d of sector %d", in[0].SealProof, in[0].SectorNumber)
		return nil, &api.ErrInvalid{What: what, Reason: err.Error()}
	}
	seen := map[abi.SectorNumber]proof.SectorInfo{}
	var out []proof.SectorInfo
	for _, s := range in {
		if other, err := s.SealProof.SectorSize(); err != nil || other != size {
			return nil, fmt.Errorf("sectors %d and %d: %w", in[0].SectorNumber, s.SectorNumber, post.ErrSizes)
		}
		old, again := seen[s.SectorNumber]
		if again && old != s {
			return nil, fmt.Errorf("sector %d: %w: as %s and as %s", s.SectorNumber, post.ErrTwice, old.SealedCID, s.SealedCID)
		}
		if !again {
			seen[s.SectorNumber] = s
			out = append(out, s)
		}
	}
	return out, nil
}

// ProveWinning makes the vanilla winning proof. Its sector must be readable.
func (p *Prover) ProveWinning(ctx context.Context, r api.WinningPoStRequest) ([]byte, error) {
	if len(r.Sectors) != 1 {
		return nil, &api.ErrInvalid{What: "winning proof", Reason: fmt.Sprintf("it is about one sector, not %d", len(r.Sectors))}
	}
	in := r.Sectors[0]
	s := sector{
		id:   abi.SectorID{Miner: r.Miner, Number: in.SectorNumber},
		info: proof.SectorInfo{SealProof: in.SealProof, SectorNumber: in.SectorNumber, SealedCID: in.SealedCID},
	}
	blob, err := read(ctx, p, s, func(ctx context.Context, o *opened) ([]byte, error) {
		return post.ProveWinning(ctx, r.Miner, r.Randomness, []post.SectorAccess{o.SectorAccess})
	})
	if err != nil {
		return nil, fmt.Errorf("winning proof: sector %s: %w", api.SectorName(s.id), err)
	}
	return blob, nil
}
