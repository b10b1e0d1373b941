package merkle

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"quarry/proofs/poseidon"
)

// ErrDamaged is the cause of every rejection of a stored tree. Other errors
// mean that a tree could not be read to its end.
var ErrDamaged = errors.New("the stored tree is damaged or not complete")

// VerifyPoseidon hashes a stored base tree of leaves leaves again and compares
// every byte; file starts with row first. src are the leaves that it should be
// of, or nil to trust row first. It costs what BuildPoseidon does, without the
// rows below first when src is nil; done counts leaves, or nodes of row first
// then. The error wraps ErrDamaged when the rows do not belong together or do
// not end in root, and io.ErrUnexpectedEOF when the file is too short.
func VerifyPoseidon(ctx context.Context, leaves uint64, file io.ReaderAt, first int, src Leaves, root Node, done Done) error {
	if err := checkLeaves(leaves, BaseArity); err != nil {
		return err
	}
	if rows := Rows(leaves, BaseArity); first < 0 || first >= rows {
		return fmt.Errorf("merkle: no tree of %d rows is stored from row %d on", rows, first)
	}
	cmp := &comparer{file: file}
	if src == nil {
		// Row first is taken for the leaves of a smaller tree, of which the rows
		// above are compared.
		for range first {
			leaves /= BaseArity
		}
		src, first = storedRow(file), 1
		cmp.skip = int64(leaves * NodeSize)
		if leaves == 1 {
			first = 0
			cmp.skip = 0
		}
	}
	got, err := BuildPoseidon(ctx, leaves, src, cmp, first, done)
	if err != nil {
		return fmt.Errorf("merkle: checking a stored tree: %w", err)
	}
	return sameRoot(got, root)
}

// VerifyBinary is VerifyPoseidon for a stored tree-d. The leaves are those in
// the file.
func VerifyBinary(ctx context.Context, leaves uint64, file io.ReaderAt, root Node, done Done) error {
	got, err := BuildBinary(ctx, leaves, file, &comparer{file: file}, done)
	if err != nil {
		return fmt.Errorf("merkle: checking a stored tree-d: %w", err)
	}
	return sameRoot(got, root)
}

func sameRoot(got, want Node) error {
	if got != want {
		return fmt.Errorf("merkle: %w: its root is %x, not %x", ErrDamaged, got, want)
	}
	return nil
}

// storedRow gives the nodes at the start of a file as leaves. One that is no
// field element means damage.
func storedRow(file io.ReaderAt) Leaves {
	return func(_ context.Context, start uint64, dst []poseidon.Element) error {
		room := nodeRoom.Get().(*[nodesAtOnce * NodeSize]byte)
		defer nodeRoom.Put(room)
		off := int64(start * NodeSize)
		if err := ReadFullAt(file, room[:len(dst)*NodeSize], off); err != nil {
			return fmt.Errorf("reading nodes at byte %d: %w", off, err)
		}
		if err := poseidon.DecodeRow(dst, room[:len(dst)*NodeSize]); err != nil {
			return fmt.Errorf("%w: nodes at byte %d: %w", ErrDamaged, off, err)
		}
		return nil
	}
}

// comparer is written a tree and compares it with what is in a file, skip bytes
// further on.
type comparer struct {
	file io.ReaderAt
	skip int64
}

func (c *comparer) WriteAt(b []byte, off int64) (int, error) {
	room := nodeRoom.Get().(*[nodesAtOnce * NodeSize]byte)
	defer nodeRoom.Put(room)
	for n := 0; n < len(b); {
		have, at := room[:min(len(b)-n, len(room))], off+c.skip+int64(n)
		if err := ReadFullAt(c.file, have, at); err != nil {
			return n, fmt.Errorf("reading %d bytes at %d: %w", len(have), at, err)
		}
		if part := b[n : n+len(have)]; !bytes.Equal(have, part) {
			i := 0
			for have[i] == part[i] {
				i++
			}
			return n, fmt.Errorf("%w: the node at byte %d differs", ErrDamaged, (at+int64(i))/NodeSize*NodeSize)
		}
		n += len(have)
	}
	return len(b), nil
}

// maxSamples bounds the paths of SamplePoseidon.
const maxSamples = 1 << 12

// SamplePoseidon is a cheap VerifyPoseidon: it compares the root and hashes the
// paths of samples nodes of row first, drawn at random, upwards through the
// stored rows. A file that was cut short or left with holes is found unless its
// damage is in few nodes; for certainty use VerifyPoseidon.
func SamplePoseidon(ctx context.Context, leaves uint64, file io.ReaderAt, first int, root Node, samples int) error {
	if err := checkLeaves(leaves, BaseArity); err != nil {
		return err
	}
	rows := Rows(leaves, BaseArity)
	if first < 0 || first >= rows {
		return fmt.Errorf("merkle: no tree of %d rows is stored from row %d on", rows, first)
	}
	if samples < 1 || samples > maxSamples {
		return fmt.Errorf("merkle: %d paths to sample are not 1 to %d", samples, maxSamples)
	}
	var top Node
	if err := ReadFullAt(file, top[:], int64(RowOffset(leaves, BaseArity, first, rows-1))); err != nil {
		return fmt.Errorf("merkle: reading the root of a stored tree: %w", err)
	}
	if err := sameRoot(top, root); err != nil {
		return err
	}
	at, err := draw(samples, leaves, first)
	if err != nil {
		return err
	}
	h := poseidon.MustNew(BaseArity)
	els, raw := make([]poseidon.Element, samples*BaseArity), make([]byte, samples*BaseArity*NodeSize)
	for row := first; row < rows-1; row++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("merkle: checking a stored tree: %w", err)
		}
		const group = BaseArity * NodeSize
		for i := range at {
			at[i] /= BaseArity
			off := int64(RowOffset(leaves, BaseArity, first, row) + at[i]*group)
			if err := ReadFullAt(file, raw[i*group:(i+1)*group], off); err != nil {
				return fmt.Errorf("merkle: reading row %d of a stored tree at byte %d: %w", row, off, err)
			}
		}
		if err := poseidon.DecodeRow(els, raw); err != nil {
			return fmt.Errorf("merkle: %w: row %d: %w", ErrDamaged, row, err)
		}
		h.HashRow(els[:samples], els)
		poseidon.EncodeRow(raw[:samples*NodeSize], els[:samples])
		for i := range at {
			var parent Node
			off := int64(RowOffset(leaves, BaseArity, first, row+1) + at[i]*NodeSize)
			if err := ReadFullAt(file, parent[:], off); err != nil {
				return fmt.Errorf("merkle: reading row %d of a stored tree at byte %d: %w", row+1, off, err)
			}
			if parent != Node(raw[i*NodeSize:(i+1)*NodeSize]) {
				return fmt.Errorf("merkle: %w: node %d of row %d is not the hash of its children", ErrDamaged, at[i], row+1)
			}
		}
	}
	return nil
}

// draw picks nodes of row first of a tree; the last one is always the last node
// of the row, which a file that was cut short lacks.
func draw(samples int, leaves uint64, first int) ([]uint64, error) {
	for range first {
		leaves /= BaseArity
	}
	raw := make([]byte, samples*8)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("merkle: drawing nodes to check: %w", err)
	}
	at := make([]uint64, samples)
	for i := range at {
		at[i] = binary.LittleEndian.Uint64(raw[i*8:]) % leaves // a power of two
	}
	at[samples-1] = leaves - 1
	return at, nil
}
