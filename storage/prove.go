package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/proofs/poseidon"
	"quarry/proofs/post"
)

// ProveWindow makes the vanilla window proof over the sectors that can be read;
// the others come back as skipped, ascending. With nothing readable the proof is
// empty.
func (m *Manager) ProveWindow(ctx context.Context, r api.WindowPoStRequest) (api.WindowPoStResult, error) {
	opened := make([]*openSector, len(r.Sectors))
	defer func() {
		for _, o := range opened {
			if o != nil {
				o.close()
			}
		}
	}()
	var g errgroup.Group
	g.SetLimit(m.cfg.ParallelReads)
	for i, s := range r.Sectors {
		g.Go(func() error {
			id := abi.SectorID{Miner: r.Miner, Number: s.SectorNumber}
			o, err := m.open(ctx, id, s)
			if err != nil {
				m.log.Error("sector is skipped in a window proof", "sector", api.SectorName(id), "err", err)
				return nil
			}
			opened[i] = o
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	if err := ctx.Err(); err != nil {
		return api.WindowPoStResult{}, err
	}
	out := api.WindowPoStResult{Skipped: []abi.SectorNumber{}}
	var access []post.SectorAccess
	for i, o := range opened {
		if o == nil {
			out.Skipped = append(out.Skipped, r.Sectors[i].SectorNumber)
		} else {
			access = append(access, o.SectorAccess)
		}
	}
	if len(access) > 0 {
		blob, skipped, err := post.ProveWindow(ctx, r.Miner, r.Randomness, access)
		if err != nil {
			return api.WindowPoStResult{}, fmt.Errorf("window proof over %d sectors of miner %d: %w", len(access), r.Miner, err)
		}
		for _, n := range skipped {
			m.log.Error("sector is skipped in a window proof", "sector", api.SectorName(abi.SectorID{Miner: r.Miner, Number: n}), "err", "its files are damaged")
		}
		out.Vanilla, out.Skipped = blob, append(out.Skipped, skipped...)
	}
	slices.Sort(out.Skipped)
	return out, nil
}

// ProveWinning makes the vanilla winning proof. Every sector must be readable.
func (m *Manager) ProveWinning(ctx context.Context, r api.WinningPoStRequest) ([]byte, error) {
	access := make([]post.SectorAccess, 0, len(r.Sectors))
	for _, s := range r.Sectors {
		id := abi.SectorID{Miner: r.Miner, Number: s.SectorNumber}
		o, err := m.open(ctx, id, proof.SectorInfo{SealProof: s.SealProof, SectorNumber: s.SectorNumber, SealedCID: s.SealedCID})
		if err != nil {
			return nil, fmt.Errorf("winning proof: open sector %s: %w", api.SectorName(id), err)
		}
		defer o.close()
		access = append(access, o.SectorAccess)
	}
	blob, err := post.ProveWinning(ctx, r.Miner, r.Randomness, access)
	if err != nil {
		return nil, fmt.Errorf("winning proof of miner %d: %w", r.Miner, err)
	}
	return blob, nil
}

// CheckProvable names the sectors that could not be proved now, with the reason:
// files missing, of the wrong size, or a random leaf that does not lead to the
// root recorded beside it.
func (m *Manager) CheckProvable(ctx context.Context, sectors []api.SectorRef) (map[abi.SectorNumber]string, error) {
	reasons := make([]string, len(sectors))
	var g errgroup.Group
	g.SetLimit(m.cfg.ParallelReads)
	for i, s := range sectors {
		g.Go(func() error {
			if err := m.check(ctx, s); err != nil {
				reasons[i] = err.Error()
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := map[abi.SectorNumber]string{}
	for i, r := range reasons {
		if r != "" {
			out[sectors[i].ID.Number] = r
		}
	}
	return out, nil
}

// check proves a leaf of every replica of the sector there is: which of two the
// chain wants proofs of changes at the moment an update lands.
func (m *Manager) check(ctx context.Context, s api.SectorRef) error {
	kept, err := m.kept(ctx, s.ID)
	if err != nil {
		return err
	}
	for _, f := range kept {
		if err := m.checkForm(ctx, s, f); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) checkForm(ctx context.Context, s api.SectorRef, f form) error {
	o, err := m.openForm(ctx, s.ID, proof.SectorInfo{SealProof: s.ProofType, SectorNumber: s.ID.Number}, f)
	if err != nil {
		return err
	}
	defer o.close()
	if o.Info.SealedCID, err = sealedCID(o.Cache); err != nil {
		return fmt.Errorf("sector %s: %w", s, err)
	}
	return post.SelfCheck(ctx, s.ID.Miner, o.SectorAccess)
}

// auxFile holds CommC and CommRLast, 32 bytes each (rust-fil-proofs
// storage-proofs-porep/src/stacked/vanilla/params.rs, PersistentAux).
const auxFile = "p_aux"

// sealedCID derives CommR = H(CommC, CommRLast) from the cache.
func sealedCID(cache porep.Files) (c cid.Cid, err error) {
	f, err := cache.Open(auxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("cache has no %s: the sector is not sealed", auxFile)
	}
	if err != nil {
		return c, err
	}
	defer f.Close() //nolint:errcheck // read only
	var b [64]byte
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, 64), b[:]); err != nil {
		return c, fmt.Errorf("read %s: %w", auxFile, err)
	}
	var in [2]poseidon.Element
	if err := poseidon.DecodeRow(in[:], b[:]); err != nil {
		return c, fmt.Errorf("%s is damaged: %w", auxFile, err)
	}
	commR := poseidon.Encode(poseidon.MustNew(2).Hash(in[:]))
	return commcid.ReplicaCommitmentV1ToCID(commR[:])
}
