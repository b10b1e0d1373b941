package circuit

import (
	"context"
	"fmt"
	"sync"

	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
	"quarry/proofs/r1cs"
)

// vanilla is a vanilla proof that several circuits are filled from. It is
// verified once, when the first of them is walked through: a proof of a false
// statement costs minutes and then fails to verify.
type vanilla struct {
	kind   Kind
	verify func(context.Context) (bool, error)

	mu   sync.Mutex
	done bool
	err  error
}

// check is nil for blank circuits, which have no proof.
func (v *vanilla) check(ctx context.Context) error {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.done {
		return v.err
	}
	ok, err := v.verify(ctx)
	if err != nil { // undecided: the next walk asks again
		return fmt.Errorf("circuit: verifying the vanilla proof of a %s: %w", v.kind, err)
	}
	if v.done = true; !ok {
		v.err = fmt.Errorf("circuit: the vanilla proof of a %s does not verify, make it again: %w", v.kind, ErrVanilla)
	}
	return v.err
}

// stopped is the error of a walk through k whose context has ended, or nil.
func stopped(ctx context.Context, k Kind) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("circuit: walk through a %s stopped: %w", k, err)
	}
	return nil
}

// blankProof is a proof of form f about leaf 0 of a tree of zeros.
func blankProof(f merkle.Form) merkle.Proof {
	step := func(n, arity int) (out []merkle.Step) {
		for range n {
			out = append(out, merkle.Step{Hashes: make([]merkle.Node, arity-1)})
		}
		return out
	}
	p := merkle.Proof{Base: step(f.BaseSteps, f.BaseArity)}
	if f.Sub != 0 {
		p.Sub = step(1, f.Sub)
	}
	if f.Top != 0 {
		p.Top = step(1, f.Top)
	}
	return p
}

// elements are public inputs from nodes.
func elements(nodes ...[32]byte) ([]r1cs.Element, error) {
	out := make([]r1cs.Element, len(nodes))
	for i := range nodes {
		e, err := poseidon.Decode(&nodes[i])
		if err != nil {
			return nil, fmt.Errorf("circuit: public input %x: %w", nodes[i], err)
		}
		out[i] = e
	}
	return out, nil
}

func number(v uint64) (e r1cs.Element) {
	e.SetUint64(v)
	return e
}
