package merkle

import (
	"errors"
	"fmt"
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
	Sub, Top             int // arities, 0 for none
	hash                 func(...Node) (Node, error)
}

// PoseidonForm is the form of proofs in tree-c and tree-r-last.
func (s Shape) PoseidonForm() Form {
	return Form{BaseSteps: s.BaseRows() - 1, BaseArity: BaseArity, Sub: s.Sub, Top: s.Top, hash: HashNodes}
}

// BinaryForm is the form of proofs in a tree-d of leaves leaves.
func BinaryForm(leaves uint64) Form {
	return Form{BaseSteps: Rows(leaves, 2) - 1, BaseArity: 2, hash: hashBinary}
}

// ErrProof is the cause of every rejection by Check.
var ErrProof = errors.New("merkle proof is wrong")

// Check verifies the whole of p: its form, that it is about leaf number index,
// and that hashing from Leaf upwards gives Root. It does not compare Root with
// anything.
func (f Form) Check(p *Proof, index uint64) error {
	if len(p.Base) != f.BaseSteps || len(p.Sub) != steps(f.Sub) || len(p.Top) != steps(f.Top) {
		return fmt.Errorf("%w: %d+%d+%d steps", ErrProof, len(p.Base), len(p.Sub), len(p.Top))
	}
	acc, got, weight := p.Leaf, uint64(0), uint64(1)
	climb := func(path []Step, arity int) error {
		for _, s := range path {
			if len(s.Hashes) != arity-1 || s.Index >= uint64(arity) {
				return fmt.Errorf("%w: a step of %d siblings at position %d in arity %d", ErrProof, len(s.Hashes), s.Index, arity)
			}
			children := make([]Node, 0, arity)
			children = append(children, s.Hashes[:s.Index]...)
			children = append(children, acc)
			children = append(children, s.Hashes[s.Index:]...)
			var err error
			if acc, err = f.hash(children...); err != nil {
				return fmt.Errorf("%w: %w", ErrProof, err)
			}
			got += s.Index * weight
			weight *= uint64(arity)
		}
		return nil
	}
	if err := errors.Join(climb(p.Base, f.BaseArity), climb(p.Sub, f.Sub), climb(p.Top, f.Top)); err != nil {
		return err
	}
	if got != index {
		return fmt.Errorf("%w: it is about leaf %d, not %d", ErrProof, got, index)
	}
	if acc != p.Root {
		return fmt.Errorf("%w: leaf %d does not hash up to its root", ErrProof, index)
	}
	return nil
}

func steps(arity int) int {
	if arity == 0 {
		return 0
	}
	return 1
}
