package merkle

import (
	"fmt"
	"io"

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
	if len(t.Files) != t.Shape.Bases() {
		return Proof{}, fmt.Errorf("merkle: %d files for %d base trees", len(t.Files), t.Shape.Bases())
	}
	if index >= t.Shape.Nodes {
		return Proof{}, fmt.Errorf("merkle: leaf %d of %d", index, t.Shape.Nodes)
	}
	n := t.Shape.BaseLeaves()
	base := int(index / n)
	p := Proof{}
	if err := t.openBase(&p, base, index%n); err != nil {
		return Proof{}, fmt.Errorf("merkle: opening leaf %d: %w", index, err)
	}
	if err := t.openUpper(&p, base); err != nil {
		return Proof{}, fmt.Errorf("merkle: opening leaf %d: %w", index, err)
	}
	if err := t.Shape.PoseidonForm().Check(&p, index); err != nil {
		return Proof{}, fmt.Errorf("merkle: the stored tree is inconsistent at leaf %d: %w", index, err)
	}
	return p, nil
}

// openBase fills the steps inside base tree b for its leaf i. Rows that are not
// stored are rebuilt from the aligned block of leaves around it.
func (t *Tree) openBase(p *Proof, b int, i uint64) error {
	leaves, rows := t.Shape.BaseLeaves(), t.Shape.BaseRows()
	p.Base = make([]Step, 0, rows-1)
	row := 0
	if t.First > 0 {
		block := uint64(1)
		for range t.First {
			block *= BaseArity
		}
		start := i / block * block
		nodes := make([]byte, block*NodeSize)
		off := (uint64(b)*leaves + start) * NodeSize
		if err := ReadFullAt(t.Leaves, nodes, int64(off)); err != nil {
			return fmt.Errorf("reading leaves at byte %d: %w", off, err)
		}
		els := make([]poseidon.Element, block)
		if err := poseidon.DecodeRow(els, nodes); err != nil {
			return fmt.Errorf("leaves at byte %d: %w", off, err)
		}
		p.Leaf = Node(nodes[(i-start)*NodeSize : (i-start+1)*NodeSize])
		h, pos := poseidon.MustNew(BaseArity), i-start
		for ; row < t.First; row++ {
			group := pos / BaseArity * BaseArity
			poseidon.EncodeRow(nodes[:BaseArity*NodeSize], els[group:group+BaseArity])
			p.Base = append(p.Base, step(nodes[:BaseArity*NodeSize], pos%BaseArity))
			up := els[:len(els)/BaseArity]
			h.HashRow(up, els)
			els, pos, i = up, pos/BaseArity, i/BaseArity
		}
	}
	buf := make([]byte, BaseArity*NodeSize)
	for ; row < rows-1; row++ {
		off := RowOffset(leaves, BaseArity, t.First, row) + i/BaseArity*BaseArity*NodeSize
		if err := ReadFullAt(t.Files[b], buf, int64(off)); err != nil {
			return fmt.Errorf("reading row %d of base tree %d at byte %d: %w", row, b, off, err)
		}
		if row == 0 {
			p.Leaf = Node(buf[i%BaseArity*NodeSize : (i%BaseArity+1)*NodeSize])
		}
		p.Base = append(p.Base, step(buf, i%BaseArity))
		i /= BaseArity
	}
	return nil
}

// openUpper fills the sub and top steps and the root.
func (t *Tree) openUpper(p *Proof, base int) error {
	row := make([]Node, len(t.Files))
	for i := range row {
		off := RowOffset(t.Shape.BaseLeaves(), BaseArity, t.First, t.Shape.BaseRows()-1)
		if err := ReadFullAt(t.Files[i], row[i][:], int64(off)); err != nil {
			return fmt.Errorf("reading the root of base tree %d: %w", i, err)
		}
	}
	pos := base
	for _, l := range []struct {
		arity int
		steps *[]Step
	}{{t.Shape.Sub, &p.Sub}, {t.Shape.Top, &p.Top}} {
		if l.arity == 0 {
			break
		}
		up := make([]Node, len(row)/l.arity)
		for i := range up {
			var err error
			if up[i], err = HashNodes(row[i*l.arity : (i+1)*l.arity]...); err != nil {
				return err
			}
		}
		s, own := Step{Index: uint64(pos % l.arity)}, pos
		for i := pos / l.arity * l.arity; len(s.Hashes) < l.arity-1; i++ {
			if i != own {
				s.Hashes = append(s.Hashes, row[i])
			}
		}
		*l.steps = []Step{s}
		row, pos = up, pos/l.arity
	}
	p.Root = row[0]
	return nil
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
