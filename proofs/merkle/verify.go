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

// StoredTree is a base tree of Poseidon hashes in a file, to be compared with
// what it should be.
type StoredTree struct {
	// Leaves is how many the tree has, also where they are not stored.
	Leaves uint64
	// File has the rows one after another, from row First on.
	File io.ReaderAt
	// First is the first row in the file; row 0 is the leaves.
	First int
	// Root is what the tree should end in.
	Root Node
}

// rows is how many rows the tree has, those counted that are not stored.
func (t *StoredTree) rows() (int, error) {
	if err := checkLeaves(t.Leaves, BaseArity); err != nil {
		return 0, err
	}
	rows := Rows(t.Leaves, BaseArity)
	if t.First < 0 || t.First >= rows {
		return 0, fmt.Errorf("merkle: no tree of %d rows is stored from row %d on", rows, t.First)
	}
	return rows, nil
}

// VerifyPoseidon hashes a stored tree again and compares every byte. src are the
// leaves that it should be of, or nil to trust its first row. It costs what
// BuildPoseidon does, without the rows below the first when src is nil; done
// counts leaves, or nodes of the first row then. The error wraps ErrDamaged when
// the rows do not belong together or do not end in the root, and
// io.ErrUnexpectedEOF when the file is too short.
func VerifyPoseidon(ctx context.Context, t StoredTree, src Leaves, done Done) error {
	if _, err := t.rows(); err != nil {
		return err
	}
	leaves, first := t.Leaves, t.First
	cmp := &comparer{file: t.File}
	if src == nil {
		// Row first is taken for the leaves of a smaller tree, of which the rows
		// above are compared.
		for range first {
			leaves /= BaseArity
		}
		src, first = storedRow(t.File), 1
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
	return sameRoot(got, t.Root)
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
// paths of samples nodes of the first row, drawn at random, upwards through the
// stored rows. A file that was cut short or left with holes is found unless its
// damage is in few nodes; for certainty use VerifyPoseidon.
func SamplePoseidon(ctx context.Context, t StoredTree, samples int) error {
	rows, err := t.rows()
	if err != nil {
		return err
	}
	if samples < 1 || samples > maxSamples {
		return fmt.Errorf("merkle: %d paths to sample are not 1 to %d", samples, maxSamples)
	}
	var top Node
	if err := t.read(top[:], rows-1, 0); err != nil {
		return err
	}
	if err := sameRoot(top, t.Root); err != nil {
		return err
	}
	at, err := draw(samples, t.Leaves, t.First)
	if err != nil {
		return err
	}
	s := sampler{
		tree: &t,
		at:   at,
		raw:  make([]byte, samples*BaseArity*NodeSize),
		els:  make([]poseidon.Element, samples*BaseArity),
	}
	for row := t.First; row < rows-1; row++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("merkle: checking a stored tree: %w", err)
		}
		if err := s.step(row); err != nil {
			return err
		}
	}
	return nil
}

// read fills b with stored nodes of a row, from node on.
func (t *StoredTree) read(b []byte, row int, node uint64) error {
	off := int64(RowOffset(t.Leaves, BaseArity, t.First, row) + node*NodeSize)
	if err := ReadFullAt(t.File, b, off); err != nil {
		return fmt.Errorf("merkle: reading row %d of a stored tree at byte %d: %w", row, off, err)
	}
	return nil
}

// sampler follows paths upwards through a stored tree.
type sampler struct {
	tree *StoredTree
	at   []uint64           // nodes of the row that the paths have reached
	raw  []byte             // room for the children of one parent of each path
	els  []poseidon.Element // the same
}

// step hashes the groups that the nodes in row are of, and compares with their
// parents in the row above.
func (s *sampler) step(row int) error {
	const group = BaseArity * NodeSize
	for i := range s.at {
		s.at[i] /= BaseArity
		if err := s.tree.read(s.raw[i*group:(i+1)*group], row, s.at[i]*BaseArity); err != nil {
			return err
		}
	}
	if err := poseidon.DecodeRow(s.els, s.raw); err != nil {
		return fmt.Errorf("merkle: %w: row %d: %w", ErrDamaged, row, err)
	}
	n := len(s.at)
	poseidon.MustNew(BaseArity).HashRow(s.els[:n], s.els)
	poseidon.EncodeRow(s.raw[:n*NodeSize], s.els[:n])
	for i := range s.at {
		var parent Node
		if err := s.tree.read(parent[:], row+1, s.at[i]); err != nil {
			return err
		}
		if parent != Node(s.raw[i*NodeSize:(i+1)*NodeSize]) {
			return fmt.Errorf("merkle: %w: node %d of row %d is not the hash of its children", ErrDamaged, s.at[i], row+1)
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
