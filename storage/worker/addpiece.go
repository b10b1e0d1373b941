package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

// pieceOffset is where the next piece of a size goes: every piece starts at a
// multiple of its own size, as CommD has it (rust-fil-proofs
// filecoin-proofs/src/pieces.rs).
func pieceOffset(existing []abi.PieceInfo, size abi.PaddedPieceSize) (abi.PaddedPieceSize, error) {
	var off abi.PaddedPieceSize
	for i, p := range existing {
		if err := p.Size.Validate(); err != nil {
			return 0, &api.ErrInvalid{What: fmt.Sprintf("piece %d", i), Reason: err.Error()}
		}
		off = align(off, p.Size) + p.Size
	}
	return align(off, size), nil
}

func align(off, size abi.PaddedPieceSize) abi.PaddedPieceSize {
	return (off + size - 1) / size * size
}

// addPiece writes one piece into the unsealed file. Doing it again overwrites
// the same range with the same bytes.
func (w *Worker) addPiece(ctx context.Context, s api.SectorRef, a api.AddPieceParams, p *progress) error {
	size, err := s.ProofType.SectorSize()
	if err != nil {
		return &api.ErrInvalid{What: "seal proof type", Reason: err.Error()}
	}
	if err := a.Piece.Size.Validate(); err != nil {
		return &api.ErrInvalid{What: "piece", Reason: err.Error()}
	}
	off, err := pieceOffset(a.Existing, a.Piece.Size)
	if err != nil {
		return err
	}
	if uint64(off)+uint64(a.Piece.Size) > uint64(size) || a.Data.Size > uint64(a.Piece.Size.Unpadded()) {
		return &api.ErrInvalid{What: "piece " + a.Piece.PieceCID.String(), Reason: "it does not fit", Hint: "check its padded size against the sector and against the payload"}
	}
	at, release, err := w.unsealedHome(ctx, s, size, len(a.Existing) > 0, p)
	if err != nil {
		return err
	}
	defer release()
	if err := w.writePiece(ctx, at, s, size, off, a, p); err != nil {
		return paths.AsNoSpace(err, "piece of sector "+s.String(), uint64(a.Piece.Size))
	}
	if err := w.declare(ctx, at, s.ID, api.FileUnsealed, false); err != nil {
		return err
	}
	return w.only(ctx, at, s.ID, api.FileUnsealed)
}

// unsealedHome gives the path whose unsealed file is to be written: the one that
// has it, or a new place.
func (w *Worker) unsealedHome(ctx context.Context, s api.SectorRef, size abi.SectorSize, must bool, p *progress) (paths.Path, func(), error) {
	if must {
		at, err := w.have(ctx, s.ID, api.FileUnsealed, size, p)
		return at, func() {}, err
	}
	at, err := w.have(ctx, s.ID, api.FileUnsealed, size, p)
	if err == nil {
		return at, func() {}, nil
	}
	var missing *api.ErrNotFound
	if !errors.As(err, &missing) {
		return at, nil, err
	}
	return w.deps.Local.Alloc("unsealed of sector "+s.String(), paths.Need(api.FileUnsealed, size, true), true)
}

func (w *Worker) writePiece(ctx context.Context, at paths.Path, s api.SectorRef, size abi.SectorSize, off abi.PaddedPieceSize, a api.AddPieceParams, p *progress) error {
	name := at.FilePath(s.ID, api.FileUnsealed)
	_, statErr := os.Stat(name)
	f, err := unsealed.Create(name, size)
	if err != nil {
		return err
	}
	err = w.copyPiece(ctx, f, off, a, p)
	if err == nil {
		err = f.Mark(off, a.Piece.Size)
	} else if os.IsNotExist(statErr) { // we made it and it holds nothing
		err = errors.Join(err, os.Remove(name))
	}
	return errors.Join(err, f.Close(), paths.SyncDir(at.Dir+"/"+api.FileUnsealed.String()))
}

func (w *Worker) copyPiece(ctx context.Context, f *unsealed.File, off abi.PaddedPieceSize, a api.AddPieceParams, p *progress) error {
	open := func() (io.ReadCloser, error) { return w.payload(ctx, a.Data) }
	return throughout(open, func(src io.Reader) error { return writePayload(ctx, src, f, off, a, p) })
}

// writePayload pads what src gives into the file, and checks it meanwhile.

// writePayload pads what src gives into the file, and checks it meanwhile.
func writePayload(ctx context.Context, src io.Reader, f *unsealed.File, off abi.PaddedPieceSize, a api.AddPieceParams, p *progress) error {
	out := &padWriter{w: io.NewOffsetWriter(f, int64(off)), left: a.Piece.Size} //nolint:gosec // inside the sector
	total := int64(a.Piece.Size.Unpadded())                                     //nolint:gosec // inside the sector
	counted := &counter{r: src, f: func(n int64) { p.set("add piece", n, total) }}
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
func (w *Worker) payload(ctx context.Context, ref api.DataRef) (io.ReadCloser, error) {
	if ref.StorageID == "" && ref.URL == "" && ref.Size == 0 {
		return io.NopCloser(bytes.NewReader(make([]byte, fr32.QuadUnpadded))), nil
	}
	return w.pull.open(ctx, ref)
}

type counter struct {
	r io.Reader
	n int64
	f func(int64)
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.f(c.n)
	return n, err
}

// padWriter fr32-pads a payload stream into at most left padded bytes.
type padWriter struct {
	w    io.Writer
	left abi.PaddedPieceSize
	in   []byte // less than one buffer of payload
	out  []byte
}

const padQuads = 2048 // 256 KiB padded

func (p *padWriter) Write(b []byte) (int, error) {
	if p.out == nil {
		p.in, p.out = make([]byte, 0, padQuads*fr32.QuadUnpadded), make([]byte, padQuads*fr32.QuadPadded)
	}
	n := len(b)
	for len(b) > 0 {
		k := min(len(b), cap(p.in)-len(p.in))
		p.in, b = append(p.in, b[:k]...), b[k:]
		if len(p.in) == cap(p.in) {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (p *padWriter) flush() error {
	quads := (len(p.in) + fr32.QuadUnpadded - 1) / fr32.QuadUnpadded
	in := p.in[:quads*fr32.QuadUnpadded]
	clear(in[len(p.in):])
	out := p.out[:quads*fr32.QuadPadded]
	if abi.PaddedPieceSize(len(out)) > p.left {
		return &api.ErrInvalid{What: "piece data", Reason: "it is longer than its piece"}
	}
	fr32.Pad(in, out)
	p.left -= abi.PaddedPieceSize(len(out))
	p.in = p.in[:0]
	_, err := p.w.Write(out)
	return err
}

// finish writes what is buffered and zeros up to the end of the piece: the range
// may hold rests of an earlier try.
func (p *padWriter) finish(ctx context.Context) error {
	if err := p.flush(); err != nil {
		return err
	}
	clear(p.out)
	for p.left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(p.left, abi.PaddedPieceSize(len(p.out)))
		if _, err := p.w.Write(p.out[:n]); err != nil {
			return err
		}
		p.left -= n
	}
	return nil
}
