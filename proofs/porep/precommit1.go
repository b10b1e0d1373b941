package porep

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/commp"
	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// PreCommit1Task is a sector to take through the first pre-commit phase.
type PreCommit1Task struct {
	Sector Sector
	// Ticket is the chain's randomness of 32 bytes that the replica id holds.
	Ticket abi.SealRandomness
	// Pieces are what the sector holds, in order; gaps between and after them are
	// zero.
	Pieces []abi.PieceInfo
	// Unsealed has the fr32-padded bytes of the whole sector. It must allow
	// concurrent ReadAt.
	Unsealed io.ReaderAt
	// Cache takes tree-d and the layer files.
	Cache Files
}

// PreCommit1 builds tree-d over the unsealed bytes, checks it against the
// pieces, and computes all layers of labels. It writes tree-d and the layer
// files to the cache. It may be repeated; files are replaced, except that after
// an interruption the layers that were whole are read, checked and kept. The
// error wraps ErrPieces when the data is not that of the pieces.
// PreCommit1Memory says what it takes.
func PreCommit1(ctx context.Context, t PreCommit1Task, o LabelOptions, p Progress) (PreCommit1Out, error) {
	out, err := PreCommit1Batch(ctx, []PreCommit1Task{t}, o, p)
	if err != nil {
		return PreCommit1Out{}, err
	}
	return out[0], nil
}

// PreCommit1Batch is PreCommit1 of several sectors of one seal proof at once.
// Labels of two sectors are computed in hardly more time than those of one, on
// as many threads as there are pairs. Progress counts as for one sector. When
// one sector fails, the batch does; it may be repeated without that sector.
func PreCommit1Batch(ctx context.Context, tasks []PreCommit1Task, o LabelOptions, p Progress) ([]PreCommit1Out, error) {
	if len(tasks) == 0 || len(tasks) > sdr.MaxBatch {
		return nil, fmt.Errorf("porep: a batch of %d sectors; want 1 to %d", len(tasks), sdr.MaxBatch)
	}
	par, err := tasks[0].Sector.params()
	if err != nil {
		return nil, err
	}
	wants := make([][32]byte, len(tasks))
	for i, t := range tasks {
		switch other, err := t.Sector.paramsWith(t.Ticket); {
		case err != nil:
			return nil, err
		case other != par:
			return nil, fmt.Errorf("porep: %s is not of the seal proof of %s; a batch has one", t.Sector, tasks[0].Sector)
		}
		if wants[i], err = commp.Aggregate(abi.PaddedPieceSize(par.size()), t.Pieces); err != nil {
			return nil, fmt.Errorf("porep: %s: %w", t.Sector, err)
		}
	}
	return par.preCommit1Batch(ctx, tasks, wants, o, p)
}

// ErrPieces is returned when the unsealed bytes are not those of the pieces.
var ErrPieces = errors.New("the unsealed data does not match its pieces; write the unsealed file again")

func (par *params) preCommit1Batch(ctx context.Context, tasks []PreCommit1Task, wants [][32]byte, o LabelOptions,
	p Progress) ([]PreCommit1Out, error) {
	outs, stores := make([]PreCommit1Out, 0, len(tasks)), make(layerStores, 0, len(tasks))
	for i, t := range tasks {
		out, err := par.dataPhase(ctx, t, wants[i], o.Kernel.Trees, p)
		if err != nil {
			return nil, fmt.Errorf("porep: first pre-commit phase of %s: %w", t.Sector, err)
		}
		l := newLayerFiles(par, out.ReplicaID, t.Cache, false)
		defer l.close()
		outs, stores = append(outs, out), append(stores, l)
	}
	if err := par.label(ctx, stores, o, p); err != nil {
		return nil, fmt.Errorf("porep: labels of %s and %d more: %w", tasks[0].Sector, len(tasks)-1, err)
	}
	for _, l := range stores {
		if err := l.forget(); err != nil {
			return nil, fmt.Errorf("porep: %w", err)
		}
	}
	return outs, nil
}

// dataPhase is everything before the labels of one sector.
func (par *params) dataPhase(ctx context.Context, t PreCommit1Task, want [32]byte, on kernel.Trees, p Progress) (PreCommit1Out, error) {
	commD, err := par.buildTreeD(ctx, t.Unsealed, t.Cache, on, p)
	if err != nil {
		return PreCommit1Out{}, err
	}
	if commD != want {
		return PreCommit1Out{}, fmt.Errorf("%w: CommD is %x, the pieces give %x", ErrPieces, commD, want)
	}
	ticket := [32]byte(t.Ticket)
	id := par.replicaID(t.Sector, ticket, commD)
	return PreCommit1Out{CommD: commD, ReplicaID: id, Ticket: ticket, Layers: par.layers}, nil
}

func (par *params) buildTreeD(ctx context.Context, unsealed io.ReaderAt, cache Files, on kernel.Trees, p Progress) (root [32]byte,
	err error) {
	f, err := cache.Create(treeDName, int64(merkle.RowsSize(par.nodes, 2, 0)))
	if err != nil {
		return root, fmt.Errorf("creating %s: %w", treeDName, err)
	}
	defer func() { err = closeSynced(f, treeDName, err) }()
	return merkle.Builder{Kernel: on}.Binary(ctx, par.nodes, unsealed, f, func(n uint64) {
		p.report(StageTreeD, int64(n), int64(par.nodes))
	})
}

// writeFile replaces a cache file by b, synced.
func writeFile(cache Files, name string, b []byte) (err error) {
	f, err := cache.Create(name, int64(len(b)))
	if err != nil {
		return fmt.Errorf("creating %s: %w", name, err)
	}
	defer func() { err = closeSynced(f, name, err) }()
	if _, err := f.WriteAt(b, 0); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// closeSynced ends the writing of a file; it keeps an earlier error.
func closeSynced(f File, name string, err error) error {
	if err == nil {
		if err = f.Sync(); err != nil {
			err = fmt.Errorf("syncing %s: %w", name, err)
		}
	}
	if cerr := f.Close(); cerr != nil && err == nil {
		err = fmt.Errorf("closing %s: %w", name, cerr)
	}
	return err
}
