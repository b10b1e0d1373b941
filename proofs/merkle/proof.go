package merkle

import (
	"errors"
	"fmt"

	"quarry/proofs/commp"
	"quarry/proofs/poseidon"
)

// Step is one level of a path: the siblings in order, the own position left
// out, and that position.
type Step struct {
	Hashes []Node `json:"hashes"`
	Index  uint64 `json:"index"`
}

// Proof shows that Leaf is in the tree with root Root. Base goes from the leaf
// to the root of its base tree; Sub and Top have one step each where the shape
// has those levels.
type Proof struct {
	Base, Sub, Top []Step
	Root, Leaf     Node
}

// Form is what a proof must look like: the number and arities of its steps.
type Form struct {
	BaseSteps, BaseArity int
	Sub, Top             int  // arities, 0 for none
	binary               bool // tree-d, hashed with SHA-256
	memo                 *memo
}

// PoseidonForm is the form of proofs in tree-c and tree-r-last.
func (s Shape) PoseidonForm() Form {
	return Form{BaseSteps: s.BaseRows() - 1, BaseArity: BaseArity, Sub: s.Sub, Top: s.Top}
}

// BinaryForm is the form of proofs in a tree-d of leaves leaves.
func BinaryForm(leaves uint64) Form {
	return Form{BaseSteps: Rows(leaves, 2) - 1, BaseArity: 2, binary: true}
}

// ErrProof is the cause of every rejection by Check and CheckAll.
var ErrProof = errors.New("merkle proof is wrong")

// Check verifies the whole of p: its form, that it is about leaf number index,
// and that hashing from Leaf upwards gives Root. It does not compare Root with
// anything.
func (f Form) Check(p *Proof, index uint64) error {
	return f.CheckAll([]*Proof{p}, []uint64{index})
}

// CheckAll is Check for several proofs, proof i being about leaf indices[i]. It
// hashes them level by level, which is several times faster than one after the
// other. The first wrong proof found is the error; another number of indices
// than of proofs is one too.
func (f Form) CheckAll(proofs []*Proof, indices []uint64) error {
	if len(proofs) != len(indices) {
		return fmt.Errorf("%w: %d proofs about %d leaves", ErrProof, len(proofs), len(indices))
	}
	for i, p := range proofs {
		if err := f.checkForm(p, indices[i]); err != nil {
			return err
		}
	}
	acc := make([]Node, len(proofs))
	for i, p := range proofs {
		acc[i] = p.Leaf
	}
	c := climber{f: f, indices: indices, acc: acc}
	for k := range f.BaseSteps {
		if err := c.climb(f.BaseArity, func(i int) *Step { return &proofs[i].Base[k] }); err != nil {
			return err
		}
	}
	if f.Sub != 0 {
		if err := c.climb(f.Sub, func(i int) *Step { return &proofs[i].Sub[0] }); err != nil {
			return err
		}
	}
	if f.Top != 0 {
		if err := c.climb(f.Top, func(i int) *Step { return &proofs[i].Top[0] }); err != nil {
			return err
		}
	}
	for i, p := range proofs {
		if acc[i] != p.Root {
			return fmt.Errorf("%w: leaf %d does not hash up to its root", ErrProof, indices[i])
		}
	}
	return nil
}

// checkForm verifies what needs no hashing.
func (f Form) checkForm(p *Proof, index uint64) error {
	if len(p.Base) != f.BaseSteps || len(p.Sub) != steps(f.Sub) || len(p.Top) != steps(f.Top) {
		return fmt.Errorf("%w: %d+%d+%d steps", ErrProof, len(p.Base), len(p.Sub), len(p.Top))
	}
	got, weight := uint64(0), uint64(1)
	for _, part := range []struct {
		path  []Step
		arity int
	}{{p.Base, f.BaseArity}, {p.Sub, f.Sub}, {p.Top, f.Top}} {
		for _, s := range part.path {
			if len(s.Hashes) != part.arity-1 || s.Index >= uint64(part.arity) {
				return fmt.Errorf("%w: a step of %d siblings at position %d in arity %d", ErrProof, len(s.Hashes), s.Index, part.arity)
			}
			got += s.Index * weight
			weight *= uint64(part.arity)
		}
	}
	if got != index {
		return fmt.Errorf("%w: it is about leaf %d, not %d", ErrProof, got, index)
	}
	return nil
}

// climber hashes the paths of several leaves upwards at the same pace.
type climber struct {
	f       Form
	indices []uint64
	acc     []Node // where each path has got to
	todo    []int  // the paths whose parent is to be hashed
	raw     []byte // their groups of children
	els     []poseidon.Element
}

// climb goes one step up; step gives that of path i.
func (c *climber) climb(arity int, step func(i int) *Step) error {
	size := arity * NodeSize
	c.todo, c.raw = c.todo[:0], c.raw[:0]
	for i := range c.acc {
		s, from := step(i), len(c.raw)
		for _, h := range s.Hashes[:s.Index] {
			c.raw = append(c.raw, h[:]...)
		}
		c.raw = append(c.raw, c.acc[i][:]...)
		for _, h := range s.Hashes[s.Index:] {
			c.raw = append(c.raw, h[:]...)
		}
		if n, ok := c.f.memo.recall(c.raw[from:]); ok {
			c.acc[i], c.raw = n, c.raw[:from]
		} else {
			c.todo = append(c.todo, i)
		}
	}
	up := make([]byte, len(c.todo)*NodeSize)
	if c.f.binary {
		commp.HashRow(up, c.raw)
	} else if err := c.hashPoseidon(up, arity); err != nil {
		return err
	}
	for k, i := range c.todo {
		c.acc[i] = Node(up[k*NodeSize : (k+1)*NodeSize])
		c.f.memo.keep(c.raw[k*size:(k+1)*size], c.acc[i])
	}
	return nil
}

func (c *climber) hashPoseidon(up []byte, arity int) error {
	n, size := len(c.todo), arity*NodeSize
	if len(c.els) < n*arity {
		c.els = make([]poseidon.Element, n*arity)
	}
	els := c.els[:n*arity]
	for k, i := range c.todo {
		if err := poseidon.DecodeRow(els[k*arity:(k+1)*arity], c.raw[k*size:(k+1)*size]); err != nil {
			return fmt.Errorf("%w: path of leaf %d: %w", ErrProof, c.indices[i], err)
		}
	}
	h, err := poseidon.New(arity)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	h.HashRow(els[:n], els)
	poseidon.EncodeRow(up, els[:n])
	return nil
}

func steps(arity int) int {
	if arity == 0 {
		return 0
	}
	return 1
}
