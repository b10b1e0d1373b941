package snark_test

import (
	"context"
	"errors"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/groth16"
	"quarry/proofs/kernel"
	"quarry/proofs/snark"
)

var errBus = errors.New("the device fell off the bus")

// broken fails at its first transform.
type broken struct{ groth16.CPU }

func (broken) Extend(context.Context, []fr.Element, fr.Element, int) error { return errBus }

// The kernel of a Prover makes its proofs: one that fails shows in their errors.
func TestProverUsesItsKernel(t *testing.T) {
	w := worldOf(t)
	p := snark.Prover{Keys: w.keys, Workers: 1, Kernel: kernel.Set{Transforms: broken{}}}
	if _, err := p.Window(t.Context(), w.info, w.vanilla); !errors.Is(err, errBus) {
		t.Errorf("window: %v", err)
	}
	p.Kernel = kernel.Set{Points: groth16.CPU{}, Transforms: groth16.CPU{}}
	raw, err := p.Window(t.Context(), w.info, w.vanilla)
	if err != nil {
		t.Fatal(err)
	}
	info := w.info
	info.Proofs = []proof.PoStProof{{PoStProof: window, ProofBytes: raw}}
	if ok, err := snark.VerifyWindow(t.Context(), w.keys, info); err != nil || !ok {
		t.Errorf("the proof of a kernel is %v, %v", ok, err)
	}
}
