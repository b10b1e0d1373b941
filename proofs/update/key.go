package update

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
)

// ErrKey is returned when what RegenerateKey computed is not the old replica:
// the updated replica or its cache is damaged, or belongs to another sector.
var ErrKey = errors.New("the sector key made is not the old replica; the updated replica or its cache is damaged")

// KeyTask is a sector to take data out of.
type KeyTask struct {
	// CommROld is the commitment to the replica before the update, CommDNew that to
	// the data that the update put in.
	CommROld, CommDNew cid.Cid
	// Updated is the replica that Encode wrote, with its cache.
	Updated Replica
	// Data has the padded bytes that Encode put in, of the whole sector.
	Data io.ReaderAt
	// Key takes the sector key: the replica as it was before.
	Key porep.File
	// Cache takes that replica's tree-r-last, p_aux and t_aux.
	Cache porep.Files
	// Kernel is as in EncodeTask.
	Kernel kernel.Trees
}

// RegenerateKey takes the data out of an updated sector again: it writes the
// replica as it was before Encode, the sector key, and that sector's cache. With
// them the sector can be proved as it was, decoded, or updated once more.
//
// The data are checked against CommDNew before anything is written, the outcome
// against CommROld (ErrKey); it is wrong to use key or cache after an error.
// Progress is told of the check as porep.StageTreeD, of the rest as
// porep.StageTreeR. Memory needed: Memory.
func RegenerateKey(ctx context.Context, proof abi.RegisteredUpdateProof, t KeyTask, p porep.Progress) error {
	par, err := paramsFor(proof)
	if err != nil {
		return err
	}
	old, fresh, err := commitments(t.CommROld, t.CommDNew)
	if err != nil {
		return fmt.Errorf("update: regenerating the sector key: %w", err)
	}
	if err := par.regenerate(ctx, old, fresh, &t, p); err != nil {
		return fmt.Errorf("update: regenerating the sector key: %w", err)
	}
	return nil
}

func (par *params) regenerate(ctx context.Context, commROld, commDNew [32]byte, t *KeyTask, p porep.Progress) error {
	if err := par.checkFiles(t.Updated, t.Data, t.Key, t.Cache, "updated replica"); err != nil {
		return err
	}
	commC, _, err := porep.ReadAux(t.Updated.Cache)
	if err != nil {
		return fmt.Errorf("updated cache: %w", err)
	}
	rhos, err := par.rhos(commDNew, commROld)
	if err != nil {
		return err
	}
	d, err := merkle.Builder{Kernel: t.Kernel}.Binary(ctx, par.shape.Nodes, t.Data, nil, func(n uint64) {
		if p != nil {
			p(porep.StageTreeD, int64(n), int64(par.shape.Nodes))
		}
	})
	if err != nil {
		return err
	}
	if d != commDNew {
		return fmt.Errorf("%w: CommD of the data is %x, not %x", porep.ErrPieces, d, commDNew)
	}
	m := mixer{
		par:      par,
		rhos:     rhos,
		from:     t.Updated.Sealed,
		data:     t.Data,
		to:       t.Key,
		subtract: true,
		what:     "updated replica",
	}
	last, err := porep.WriteTreeR(ctx, par.shape, m.leaves(), t.Cache, t.Kernel, p)
	if err != nil {
		return err
	}
	if err := t.Key.Sync(); err != nil {
		return fmt.Errorf("syncing the sector key: %w", err)
	}
	if got, err := merkle.HashNodes(commC, last); err != nil || got != commROld {
		return fmt.Errorf("%w: its CommR is %x, not %x", ErrKey, got, commROld)
	}
	return porep.WriteAux(par.shape, t.Cache, t.Updated.Cache, commC, last)
}
