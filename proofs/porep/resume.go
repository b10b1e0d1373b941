package porep

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"quarry/proofs/merkle"
)

// Building trees is most of PreCommit2's time. Beside each finished base tree
// lies a mark, which says of which replica the tree is, and what exactly is in
// its file; a repeated PreCommit2 goes on after the trees that still are what
// their marks say. Marks are removed at the end.

// markSuffix makes the name of a tree's mark.
const markSuffix = ".done"

// markMagic begins every mark; a change of what a mark means changes it.
const markMagic = "porep tree done1"

// markSize is the magic, the replica id, three digests and a digest over all.
const markSize = len(markMagic) + 5*32

// mark describes a finished base tree.
type mark struct {
	id      [32]byte // replica id: labels and data follow from it
	root    [32]byte // last node of the file
	file    [32]byte // SHA-256 of the file
	replica [32]byte // SHA-256 of the stretch of the sealed file below a tree-r-last
}

func (m *mark) bytes() []byte {
	b := append(make([]byte, 0, markSize), markMagic...)
	for _, d := range [][32]byte{m.id, m.root, m.file, m.replica} {
		b = append(b, d[:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func parseMark(b []byte) (m mark, ok bool) {
	if len(b) != markSize || string(b[:len(markMagic)]) != markMagic {
		return mark{}, false
	}
	sum := sha256.Sum256(b[:markSize-32])
	if string(sum[:]) != string(b[markSize-32:]) {
		return mark{}, false
	}
	b = b[len(markMagic):]
	return mark{id: [32]byte(b), root: [32]byte(b[32:]), file: [32]byte(b[64:]), replica: [32]byte(b[96:])}, true
}

// resumer knows which base trees of a replica are finished. A nil resumer knows
// of none and marks none.
type resumer struct {
	cache  Files
	id     [32]byte
	sealed File // the replica below a tree-r-last, nil for tree-c
}

// finished gives the root of a tree file that is complete and proven to be so.
// Whatever is wrong with file or mark only means that it is built again.
func (r *resumer) finished(ctx context.Context, name string, size int64, start, leaves uint64) (root [32]byte, ok bool, err error) {
	if r == nil {
		return root, false, nil
	}
	f, err := openSized(r.cache, name+markSuffix, int64(markSize))
	if err != nil {
		return root, false, ctx.Err()
	}
	defer closeAll([]File{f})
	b := make([]byte, markSize)
	if err := merkle.ReadFullAt(f, b, 0); err != nil {
		return root, false, ctx.Err()
	}
	m, ok := parseMark(b)
	if !ok || m.id != r.id {
		return root, false, ctx.Err()
	}
	now, err := r.measure(ctx, name, size, start, leaves)
	if err != nil || now != m {
		return root, false, ctx.Err()
	}
	return m.root, true, nil
}

// measure reads a tree file, and the replica below it, from end to end.
func (r *resumer) measure(ctx context.Context, name string, size int64, start, leaves uint64) (m mark, err error) {
	m.id = r.id
	f, err := openSized(r.cache, name, size)
	if err != nil {
		return m, err
	}
	defer closeAll([]File{f})
	if err := merkle.ReadFullAt(f, m.root[:], size-merkle.NodeSize); err != nil {
		return m, fmt.Errorf("reading the root of %s: %w", name, err)
	}
	if m.file, err = digest(ctx, f, 0, size); err != nil {
		return m, fmt.Errorf("reading %s: %w", name, err)
	}
	if r.sealed != nil {
		if m.replica, err = digest(ctx, r.sealed, int64(start)*merkle.NodeSize, int64(leaves)*merkle.NodeSize); err != nil {
			return m, fmt.Errorf("reading the sealed file: %w", err)
		}
	}
	return m, nil
}

func digest(ctx context.Context, f io.ReaderAt, off, n int64) (sum [32]byte, err error) {
	const step = 1 << 20
	h, b := sha256.New(), make([]byte, min(step, n))
	for ; n > 0; n, off = n-int64(len(b)), off+int64(len(b)) {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		b = b[:min(n, int64(len(b)))]
		if err := merkle.ReadFullAt(f, b, off); err != nil {
			return sum, fmt.Errorf("at byte %d: %w", off, err)
		}
		h.Write(b)
	}
	return [32]byte(h.Sum(nil)), nil
}

// begin takes back what was said of a tree that is about to be built.
func (r *resumer) begin(name string) error {
	if r == nil {
		return nil
	}
	if err := r.cache.Remove(name + markSuffix); err != nil {
		return fmt.Errorf("removing the mark of %s: %w", name, err)
	}
	return nil
}

// end marks a tree that was built and synced. Reading everything back is a check
// of the disk as well: root is what was computed.
func (r *resumer) end(ctx context.Context, name string, size int64, start, leaves uint64, root [32]byte) error {
	if r == nil {
		return nil
	}
	if r.sealed != nil {
		if err := r.sealed.Sync(); err != nil {
			return fmt.Errorf("syncing the sealed file: %w", err)
		}
	}
	m, err := r.measure(ctx, name, size, start, leaves)
	if err != nil {
		return err
	}
	if m.root != root {
		return fmt.Errorf("%s does not hold what was written to it: its root reads as %x, not %x; the disk fails", name, m.root, root)
	}
	return writeFile(r.cache, name+markSuffix, m.bytes())
}

// clearMarks removes all marks of finished trees.
func (par *params) clearMarks(cache Files) error {
	for _, kind := range []string{treeC, treeRLast} {
		for _, name := range treeNames(par.shape, kind) {
			if err := cache.Remove(name + markSuffix); err != nil {
				return fmt.Errorf("removing the mark of %s: %w", name, err)
			}
		}
	}
	return nil
}
