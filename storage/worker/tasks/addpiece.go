package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

// span is a range of a sector, in padded bytes.
type span struct{ off, size abi.PaddedPieceSize }

func pad(size abi.SectorSize) abi.PaddedPieceSize { return abi.PaddedPieceSize(size) }

// layout is where pieces lie, and where the next one of a size goes: every piece
// starts at a multiple of its own size, as CommD has it (rust-fil-proofs
// filecoin-proofs/src/pieces.rs).
func layout(existing []abi.PieceInfo, size abi.PaddedPieceSize) (spans []span, next abi.PaddedPieceSize, err error) {
	var off abi.PaddedPieceSize
	for i, p := range existing {
		if err := p.Size.Validate(); err != nil {
			return nil, 0, &api.ErrInvalid{What: fmt.Sprintf("piece %d", i), Reason: err.Error()}
		}
		off = align(off, p.Size)
		spans = append(spans, span{off, p.Size})
		off += p.Size
	}
	return spans, align(off, size), nil
}

func align(off, size abi.PaddedPieceSize) abi.PaddedPieceSize {
	return (off + size - 1) / size * size
}

// addPiece writes one piece into the unsealed file. Doing it again overwrites
// the same range with the same bytes.
func (j *job) addPiece(ctx context.Context, a api.AddPieceParams) (abi.PieceInfo, error) {
	if err := a.Piece.Size.Validate(); err != nil {
		return a.Piece, &api.ErrInvalid{What: "piece", Reason: err.Error()}
	}
	spans, off, err := layout(a.Existing, a.Piece.Size)
	if err != nil {
		return a.Piece, err
	}
	if uint64(off)+uint64(a.Piece.Size) > uint64(j.size) || a.Data.Size > uint64(a.Piece.Size.Unpadded()) {
		return a.Piece, &api.ErrInvalid{
			What:   "piece " + a.Piece.PieceCID.String(),
			Reason: "it does not fit",
			Hint:   "check its padded size against the sector and against the payload",
		}
	}
	input, err := inputOf(j.sector, a.Existing, a.Piece)
	if err != nil {
		return a.Piece, err
	}
	to, err := j.unsealedHome(ctx, input, len(a.Existing) > 0)
	if err != nil {
		return a.Piece, err
	}
	defer to.release()
	at := span{off, a.Piece.Size}
	if err := j.fill(ctx, to, at, func(f *unsealed.File) error { return j.copyPiece(ctx, f, off, a) }); err != nil {
		return a.Piece, paths.AsNoSpace(err, "piece of sector "+j.String(), uint64(a.Piece.Size))
	}
	return a.Piece, j.deleteOtherCopies(ctx, to.at, api.FileUnsealed, func(context.Context) error {
		return j.proveUnsealed(to.at, append(spans, at)...)
	})
}

// unsealedFile is the unsealed file that a task writes to.
type unsealedFile struct {
	home
	fresh bool // it is being made, under a temporary name
}

// unsealedHome is the file that is there, on this process's paths or after it was
// fetched, or with must false a new one. A new one that an earlier attempt at the
// same input left is gone on with.
func (j *job) unsealedHome(ctx context.Context, input string, must bool) (unsealedFile, error) {
	at, err := j.have(ctx, api.FileUnsealed)
	var missing *api.ErrNotFound
	if err == nil || must || !errors.As(err, &missing) {
		return unsealedFile{home: home{at, at.FilePath(j.sector.ID, api.FileUnsealed), func() {}}}, err
	}
	need := paths.Need(api.FileUnsealed, j.size, true)
	h, ok := j.begun(ctx, api.FileUnsealed, need, func(name string) bool {
		return exists(name) && loadFinished(name+inputSuffix, input, new(bool))
	})
	if !ok {
		if h.at, h.release, err = j.room(ctx, paths.Want{What: "unsealed", Types: api.FileUnsealed, Need: need,
			Sealing: true}); err != nil {
			return unsealedFile{}, err
		}
		if h.name, err = h.at.MadePath(j.sector.ID, api.FileUnsealed); err == nil {
			err = errors.Join(remove(h.name), saveFinished(h.name+inputSuffix, input, true))
		}
		if err != nil {
			h.release()
			return unsealedFile{}, err
		}
	}
	if err := j.own(h.name); err != nil {
		h.release()
		return unsealedFile{}, err
	}
	return unsealedFile{h, true}, nil
}

// inputSuffix makes the name of the file that says for which input a new unsealed
// file is.
const inputSuffix = ".input"

// fill writes a range of the file, unless a fresh one has it from an earlier
// attempt, marks it, and publishes the file.
func (j *job) fill(ctx context.Context, to unsealedFile, at span, write func(*unsealed.File) error) error {
	f, err := unsealed.Create(to.name, j.size)
	if err != nil {
		return err
	}
	has := false
	if to.fresh {
		has, err = f.Has(at.off, at.size)
	}
	if err == nil && !has {
		if err = write(f); err == nil && !to.fresh {
			err = j.Confirm(ctx)
		}
		if err == nil {
			err = f.Mark(at.off, at.size)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		if to.fresh {
			err = scrap(err, to.name)
		}
		return err
	}
	if !to.fresh {
		if err := paths.SyncDir(filepath.Dir(to.name)); err != nil {
			return err
		}
		return j.declare(ctx, to.at, api.FileUnsealed, false)
	}
	if err := j.publishMade(ctx, to.at, api.FileUnsealed); err != nil {
		return err
	}
	return remove(to.name + inputSuffix)
}

func (j *job) copyPiece(ctx context.Context, f *unsealed.File, off abi.PaddedPieceSize, a api.AddPieceParams) error {
	open := func() (io.ReadCloser, error) { return j.payload(ctx, a.Data) }
	return throughout(open, func(src io.Reader) error { return j.writePayload(ctx, src, f, off, a) })
}

// writePayload pads what src gives into the file, and checks it meanwhile.
func (j *job) writePayload(ctx context.Context, src io.Reader, f *unsealed.File, off abi.PaddedPieceSize, a api.AddPieceParams) error {
	out := &padWriter{w: io.NewOffsetWriter(f, int64(off)), left: a.Piece.Size} //nolint:gosec // inside the sector
	total := int64(a.Piece.Size.Unpadded())                                     //nolint:gosec // inside the sector
	counted := &counter{r: src, f: func(n int64) { j.Set("add piece", n, total) }}
	got, err := commp.SumPadded(ctx, io.TeeReader(counted, out), a.Piece.Size)
	if err != nil {
		return fmt.Errorf("add piece %s: %w", a.Piece.PieceCID, err)
	}
	if err := out.finish(ctx); err != nil {
		return fmt.Errorf("add piece %s: %w", a.Piece.PieceCID, err)
	}
	if !got.CID.Equals(a.Piece.PieceCID) {
		return &api.ErrPieceMismatch{Want: a.Piece.PieceCID.String(), Got: got.CID.String()}
	}
	return nil
}

// payload opens the piece's data; the zero reference is a filler.
func (j *job) payload(ctx context.Context, ref api.DataRef) (io.ReadCloser, error) {
	if ref.StorageID == "" && ref.URL == "" && ref.Size == 0 {
		return io.NopCloser(bytes.NewReader(make([]byte, fr32.QuadUnpadded))), nil
	}
	return j.pull.open(ctx, ref)
}
