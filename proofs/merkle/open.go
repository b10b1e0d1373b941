package merkle

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"quarry/proofs/poseidon"
)

// Tree opens paths in a stored Poseidon tree.
type Tree struct {
	Shape Shape
	First int           // row that each file starts with; 0 is the leaves
	Files []io.ReaderAt // one per base tree
	// Leaves holds all leaves in order; used when First is above 0.
	Leaves io.ReaderAt
}

// Prove opens the path of leaf number index and checks it before returning.
func (t *Tree) Prove(index uint64) (Proof, error) {
	p, err := t.ProveAll(context.Background(), []uint64{index})
	if err != nil {
		return Proof{}, err
	}
	return p[0], nil
}

// ProveAll opens the paths of leaves indices and checks them before returning.
// Rows that are not stored are rebuilt from the leaves once per block of them,
// however many indices are in it, on all CPUs. The memory it needs beyond the
// proofs is about 400 KiB per CPU.
func (t *Tree) ProveAll(ctx context.Context, indices []uint64) ([]Proof, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	for _, i := range indices {
		if i >= t.Shape.Nodes {
			return nil, fmt.Errorf("merkle: leaf %d of %d", i, t.Shape.Nodes)
		}
	}
	up, err := t.readUpper()
	if err != nil {
		return nil, fmt.Errorf("merkle: %w", err)
	}
	out := make([]Proof, len(indices))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, part := range t.parts(indices) {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("merkle: opening leaves: %w", err)
			}
			return t.openPart(out, indices, part, up)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// check refuses what cannot be a stored tree.
func (t *Tree) check() error {
	if err := checkLeaves(t.Shape.BaseLeaves(), BaseArity); err != nil {
		return err
	}
	if len(t.Files) != t.Shape.Bases() {
		return fmt.Errorf("merkle: %d files for %d base trees", len(t.Files), t.Shape.Bases())
	}
	if rows := t.Shape.BaseRows(); t.First < 0 || t.First >= rows {
		return fmt.Errorf("merkle: no tree of %d rows is stored from row %d on", rows, t.First)
	}
	if t.First > 0 && t.Leaves == nil {
		return fmt.Errorf("merkle: a tree stored from row %d on needs its leaves to be opened", t.First)
	}
	return nil
}

// partLeaves is how many leaves one worker rebuilds rows from at a time, and
// partPaths how many paths it opens: enough to keep all lanes of a hash busy.
const (
	partLeaves = 1 << 12
	partPaths  = 16
)

// blockLeaves is how many leaves are below a node of the first stored row.
func (t *Tree) blockLeaves() uint64 {
	n := uint64(1)
	for range t.First {
		n *= BaseArity
	}
	return n
}

// parts divides the places in indices among workers, those of the same block
// going together, and the blocks in order.
func (t *Tree) parts(indices []uint64) [][]int {
	block := t.blockLeaves()
	order := make([]int, len(indices))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(indices[a], indices[b]) })
	var parts [][]int
	var blocks uint64
	for k, i := range order {
		fresh := k == 0 || indices[order[k-1]]/block != indices[i]/block
		if fresh {
			blocks++
		}
		if k == 0 || fresh && (len(parts[len(parts)-1]) >= partPaths || blocks*block > partLeaves) {
			parts = append(parts, nil)
			blocks = 1
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], i)
	}
	return parts
}

// openPart opens the leaves at the given places of indices and checks them.
func (t *Tree) openPart(out []Proof, indices []uint64, part []int, up *upper) error {
	n := t.Shape.BaseLeaves()
	proofs, which := make([]*Proof, len(part)), make([]uint64, len(part))
	for k, i := range part {
		proofs[k], which[k] = &out[i], indices[i]
		out[i].Base = make([]Step, 0, t.Shape.BaseRows()-1)
	}
	if t.First > 0 {
		if err := t.rebuild(proofs, which); err != nil {
			return fmt.Errorf("merkle: opening leaves %d to %d: %w", which[0], which[len(which)-1], err)
		}
	}
	for k, p := range proofs {
		base := int(which[k] / n)
		if err := t.openStored(p, base, which[k]%n); err != nil {
			return fmt.Errorf("merkle: opening leaf %d: %w", which[k], err)
		}
		up.open(p, base)
	}
	if err := t.Shape.PoseidonForm().CheckAll(proofs, which); err != nil {
		return fmt.Errorf("merkle: the stored tree is inconsistent: %w", err)
	}
	return nil
}

// rebuild fills the steps below the first stored row. which is sorted.
func (t *Tree) rebuild(proofs []*Proof, which []uint64) error {
	block := t.blockLeaves()
	var blocks []uint64 // the blocks in use, in order
	place := make([]uint64, len(which))
	for k, w := range which {
		if b := w / block; len(blocks) == 0 || blocks[len(blocks)-1] != b {
			blocks = append(blocks, b)
		}
		place[k] = uint64(len(blocks)-1)*block + w%block
	}
	raw := make([]byte, block*NodeSize)
	row := make([]poseidon.Element, uint64(len(blocks))*block)
	for i, b := range blocks {
		off := int64(b * block * NodeSize)
		if err := ReadFullAt(t.Leaves, raw, off); err != nil {
			return fmt.Errorf("reading leaves at byte %d: %w", off, err)
		}
		if err := poseidon.DecodeRow(row[uint64(i)*block:uint64(i+1)*block], raw); err != nil {
			return fmt.Errorf("leaves at byte %d: %w", off, err)
		}
	}
	h, group := poseidon.MustNew(BaseArity), raw[:BaseArity*NodeSize]
	for r := range t.First {
		for k, p := range proofs {
			at, pos := place[k]/BaseArity*BaseArity, place[k]%BaseArity
			poseidon.EncodeRow(group, row[at:at+BaseArity])
			if r == 0 {
				p.Leaf = Node(group[pos*NodeSize : (pos+1)*NodeSize])
			}
			p.Base = append(p.Base, step(group, pos))
			place[k] /= BaseArity
		}
		if r < t.First-1 { // the row after that is stored
			up := row[:len(row)/BaseArity]
			h.HashRow(up, row)
			row = up
		}
	}
	return nil
}

// openStored fills the steps from the first stored row of base tree b on, for
// its leaf i.
func (t *Tree) openStored(p *Proof, b int, i uint64) error {
	i /= t.blockLeaves()
	var buf [BaseArity * NodeSize]byte
	for row := t.First; row < t.Shape.BaseRows()-1; row++ {
		off := RowOffset(t.Shape.BaseLeaves(), BaseArity, t.First, row) + i/BaseArity*BaseArity*NodeSize
		if err := ReadFullAt(t.Files[b], buf[:], int64(off)); err != nil {
			return fmt.Errorf("reading row %d of base tree %d at byte %d: %w", row, b, off, err)
		}
		if row == 0 {
			p.Leaf = Node(buf[i%BaseArity*NodeSize : (i%BaseArity+1)*NodeSize])
		}
		p.Base = append(p.Base, step(buf[:], i%BaseArity))
		i /= BaseArity
	}
	return nil
}

// upper is what is above the base trees: their roots, the roots of the sub
// trees, and the root.
type upper struct {
	shape       Shape
	bases, subs []Node
	root        Node
}

func (t *Tree) readUpper() (*upper, error) {
	u := &upper{shape: t.Shape, bases: make([]Node, len(t.Files))}
	off := RowOffset(t.Shape.BaseLeaves(), BaseArity, t.First, t.Shape.BaseRows()-1)
	for i := range u.bases {
		if err := ReadFullAt(t.Files[i], u.bases[i][:], int64(off)); err != nil {
			return nil, fmt.Errorf("reading the root of base tree %d: %w", i, err)
		}
	}
	u.subs = u.bases
	if t.Shape.Sub != 0 {
		u.subs = nil
		for i := 0; i < len(u.bases); i += t.Shape.Sub {
			n, err := HashNodes(u.bases[i : i+t.Shape.Sub]...)
			if err != nil {
				return nil, fmt.Errorf("joining base trees %d to %d: %w", i, i+t.Shape.Sub-1, err)
			}
			u.subs = append(u.subs, n)
		}
	}
	u.root = u.subs[0]
	if t.Shape.Top != 0 {
		var err error
		if u.root, err = HashNodes(u.subs...); err != nil {
			return nil, fmt.Errorf("joining sub trees: %w", err)
		}
	}
	return u, nil
}

// open fills the sub and top steps and the root of a path from base tree base.
func (u *upper) open(p *Proof, base int) {
	p.Root = u.root
	if a := u.shape.Sub; a != 0 {
		p.Sub = []Step{siblings(u.bases[base/a*a:base/a*a+a], base%a)}
		base /= a
	}
	if u.shape.Top != 0 {
		p.Top = []Step{siblings(u.subs, base)}
	}
}

// siblings is the path step out of group at pos.
func siblings(group []Node, pos int) Step {
	s := Step{Index: uint64(pos), Hashes: make([]Node, 0, len(group)-1)}
	s.Hashes = append(append(s.Hashes, group[:pos]...), group[pos+1:]...)
	return s
}

// step is the path step out of a group of sibling nodes.
func step(group []byte, pos uint64) Step {
	s := Step{Index: pos, Hashes: make([]Node, 0, len(group)/NodeSize-1)}
	for i := range uint64(len(group) / NodeSize) {
		if i != pos {
			s.Hashes = append(s.Hashes, Node(group[i*NodeSize:(i+1)*NodeSize]))
		}
	}
	return s
}

// ProveBinary opens leaf number index of a stored tree-d and checks the path.
func ProveBinary(f io.ReaderAt, leaves, index uint64) (Proof, error) {
	if index >= leaves {
		return Proof{}, fmt.Errorf("merkle: leaf %d of %d", index, leaves)
	}
	rows := Rows(leaves, 2)
	p, i := Proof{}, index
	buf := make([]byte, 2*NodeSize)
	for row := range rows - 1 {
		off := RowOffset(leaves, 2, 0, row) + i/2*2*NodeSize
		if err := ReadFullAt(f, buf, int64(off)); err != nil {
			return Proof{}, fmt.Errorf("merkle: reading row %d of tree-d at byte %d: %w", row, off, err)
		}
		if row == 0 {
			p.Leaf = Node(buf[i%2*NodeSize : (i%2+1)*NodeSize])
		}
		p.Base = append(p.Base, step(buf, i%2))
		i /= 2
	}
	if err := ReadFullAt(f, p.Root[:], int64(RowOffset(leaves, 2, 0, rows-1))); err != nil {
		return Proof{}, fmt.Errorf("merkle: reading the root of tree-d: %w", err)
	}
	if err := BinaryForm(leaves).Check(&p, index); err != nil {
		return Proof{}, fmt.Errorf("merkle: the stored tree-d is inconsistent at leaf %d: %w", index, err)
	}
	return p, nil
}
