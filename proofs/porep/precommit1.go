package porep

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/commp"
	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// PreCommit1 builds tree-d over the fr32-padded unsealed bytes, checks it
// against the pieces (gaps between and after them are zero), and computes all
// layers of labels. It writes tree-d and the layer files to cache. It may be
// repeated; files are replaced. The unsealed reader must hold the whole sector
// and allow concurrent ReadAt.
func PreCommit1(ctx context.Context, s Sector, ticket abi.SealRandomness, pieces []abi.PieceInfo, unsealed io.ReaderAt, cache Files, p Progress) (PreCommit1Out, error) {
	par, err := paramsFor(s.Proof)
	if err != nil {
		return PreCommit1Out{}, err
	}
	if len(ticket) != 32 {
		return PreCommit1Out{}, fmt.Errorf("porep: %s: the ticket has %d bytes, not 32", s, len(ticket))
	}
	want, err := commp.Aggregate(abi.PaddedPieceSize(par.size()), pieces)
	if err != nil {
		return PreCommit1Out{}, fmt.Errorf("porep: %s: %w", s, err)
	}
	out, err := par.preCommit1(ctx, s, [32]byte(ticket), want, unsealed, cache, p)
	if err != nil {
		return PreCommit1Out{}, fmt.Errorf("porep: first pre-commit phase of %s: %w", s, err)
	}
	return out, nil
}

// ErrPieces is returned when the unsealed bytes are not those of the pieces.
var ErrPieces = errors.New("the unsealed data does not match its pieces; write the unsealed file again")

func (par *params) preCommit1(ctx context.Context, s Sector, ticket, want [32]byte, unsealed io.ReaderAt, cache Files, p Progress) (PreCommit1Out, error) {
	commD, err := par.buildTreeD(ctx, unsealed, cache, p)
	if err != nil {
		return PreCommit1Out{}, err
	}
	if commD != want {
		return PreCommit1Out{}, fmt.Errorf("%w: CommD is %x, the pieces give %x", ErrPieces, commD, want)
	}
	id := sdr.ReplicaID(sdr.ProverID(uint64(s.Miner)), uint64(s.Number), ticket, commD, par.porepID)
	out := PreCommit1Out{CommD: commD, ReplicaID: id, Ticket: ticket, Layers: par.layers}
	_, err = par.labels(ctx, id, p, func(layer int, labels []byte) error {
		return writeFile(cache, layerName(layer), labels)
	})
	return out, err
}

func (par *params) buildTreeD(ctx context.Context, unsealed io.ReaderAt, cache Files, p Progress) (root [32]byte, err error) {
	f, err := cache.Create(treeDName, int64(merkle.RowsSize(par.nodes, 2, 0)))
	if err != nil {
		return root, fmt.Errorf("creating %s: %w", treeDName, err)
	}
	defer func() { err = closeSynced(f, treeDName, err) }()
	return merkle.BuildBinary(ctx, par.nodes, unsealed, f, func(n uint64) {
		p.report(StageTreeD, int64(n), int64(par.nodes))
	})
}

func (par *params) labels(ctx context.Context, id [32]byte, p Progress, sink sdr.LayerSink) ([]byte, error) {
	g, err := par.graph()
	if err != nil {
		return nil, err
	}
	total := int64(par.nodes) * int64(par.layers)
	return sdr.GenerateLayers(ctx, g, id, par.layers, sink, func(n uint64) {
		p.report(StageLabels, int64(n), total)
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
