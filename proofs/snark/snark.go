package snark

import (
	"context"
	"errors"
	"fmt"

	"quarry/proofs/groth16"
	"quarry/proofs/kernel"
	"quarry/proofs/r1cs"
	"quarry/proofs/snarkpack"
)

// Keys finds parameters by name, without extension. Errors say what is missing
// and how to get it. What it returns stays valid until the caller of Keys closes
// it, and may be used by several goroutines.
type Keys interface {
	Params(ctx context.Context, name string) (*groth16.Params, error)
	VerifyingKey(ctx context.Context, name string) (*groth16.Prepared, error)
	// SRS is the string that aggregates are made and checked with.
	SRS(ctx context.Context) (*snarkpack.SRSFile, error)
}

// Options bound and show the work of a Prove function; the zero value is good.
type Options struct {
	// Workers is how many cores to use, 0 = all.
	Workers int
	// Kernel does the transforms and sums of points; nil parts are the CPU.
	// Aggregates and the check of what was made are always done on the CPU.
	Kernel kernel.Set
	// Progress hears of the stages of each partition in their own units.
	Progress func(stage string, done, total int64)
}

// ErrSelfCheck says that a proof was made and does not verify: the vanilla proof
// does not show what the public information says, or the parameters are damaged.
var ErrSelfCheck = errors.New("the groth16 proof just made does not verify; check the vanilla proof and the parameter files")

// statement is one claim with its circuit.
type statement struct {
	what     string // for errors
	name     string // of the parameters
	inputs   func() ([][]r1cs.Element, error)
	circuits func(vanilla []byte) ([]r1cs.Circuit, error)
	urgency  urgency
}

// prove makes one proof per partition and checks them together.
func (s statement) prove(ctx context.Context, keys Keys, vanilla []byte, o Options) ([]byte, error) {
	out, err := s.make(ctx, keys, vanilla, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.what, err)
	}
	return out, nil
}

func (s statement) make(ctx context.Context, keys Keys, vanilla []byte, o Options) ([]byte, error) {
	inputs, err := s.inputs()
	if err != nil {
		return nil, err
	}
	circuits, err := s.circuits(vanilla)
	if err != nil {
		return nil, err
	}
	vk, err := keys.VerifyingKey(ctx, s.name)
	if err != nil {
		return nil, err
	}
	params, err := keys.Params(ctx, s.name)
	if err != nil {
		return nil, err
	}
	defer s.urgency.begin()()
	out := make([]byte, 0, len(circuits)*groth16.ProofSize)
	proofs := make([]groth16.Proof, len(circuits))
	for i, c := range circuits {
		proofs[i], err = groth16.Prove(ctx, params, c, groth16.ProveOptions{
			Workers:  o.Workers,
			Share:    s.urgency.share,
			Kernel:   o.Kernel,
			Progress: stages(o.Progress, i, len(circuits)),
		})
		if err != nil {
			return nil, fmt.Errorf("partition %d of %d: %w", i+1, len(circuits), err)
		}
		raw, err := proofs[i].MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("partition %d of %d: %w", i+1, len(circuits), err)
		}
		out = append(out, raw...)
	}
	switch ok, err := groth16.Verify(vk, proofs, inputs); {
	case err != nil:
		return nil, err
	case !ok:
		return nil, ErrSelfCheck
	}
	return out, nil
}

// stages names the partition where there are several.
func stages(f func(string, int64, int64), i, n int) func(string, int64, int64) {
	if f == nil || n == 1 {
		return f
	}
	return func(stage string, done, total int64) {
		f(fmt.Sprintf("%s %d/%d", stage, i+1, n), done, total)
	}
}

// verify checks the concatenated proofs of all partitions.
func (s statement) verify(ctx context.Context, keys Keys, raw []byte) (bool, error) {
	inputs, err := s.inputs()
	if err != nil || len(inputs) == 0 || len(raw) != len(inputs)*groth16.ProofSize {
		return false, nil // public information that makes no statement is wrong, not undecided
	}
	proofs := make([]groth16.Proof, len(inputs))
	for i := range proofs {
		if proofs[i], err = groth16.ParseProof(raw[i*groth16.ProofSize : (i+1)*groth16.ProofSize]); err != nil {
			return false, nil // likewise wrong
		}
	}
	vk, err := keys.VerifyingKey(ctx, s.name)
	if err != nil {
		return false, err
	}
	return groth16.Verify(vk, proofs, inputs)
}
