package snark

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/circuit"
	"quarry/proofs/r1cs"
)

// ErrOneProof says that the statement of a PoSt must name its proof type exactly
// once.
var ErrOneProof = errors.New("a PoSt needs exactly one entry in Proofs, which names its type")

func window(info proof.WindowPoStVerifyInfo) (statement, error) {
	if len(info.Proofs) != 1 {
		return statement{}, ErrOneProof
	}
	name, err := circuit.WindowName(info.Proofs[0].PoStProof)
	return statement{
		what:     fmt.Sprintf("groth16 window PoSt over %d sectors of miner %d", len(info.ChallengedSectors), info.Prover),
		name:     name,
		inputs:   func() ([][]r1cs.Element, error) { return circuit.WindowInputs(info) },
		circuits: func(vanilla []byte) ([]r1cs.Circuit, error) { return circuit.Window(info, vanilla) },
		urgency:  minutes,
	}, err
}

// ProveWindow makes the window PoSt for the chain from the vanilla proof over the
// same sectors: 192 bytes per partition of the circuit. The proof type is that of
// the single entry in info.Proofs, whose bytes are ignored.
func ProveWindow(ctx context.Context, keys Keys, info proof.WindowPoStVerifyInfo, vanilla []byte, o Options) ([]byte, error) {
	s, err := window(info)
	if err != nil {
		return nil, err
	}
	return s.prove(ctx, keys, vanilla, o)
}

// VerifyWindow checks the single proof of info.
func VerifyWindow(ctx context.Context, keys Keys, info proof.WindowPoStVerifyInfo) (bool, error) {
	if len(info.Proofs) != 1 {
		return false, nil
	}
	s, err := window(info)
	if err != nil {
		return false, err
	}
	return s.verify(ctx, keys, info.Proofs[0].ProofBytes)
}

func winning(info proof.WinningPoStVerifyInfo) (statement, error) {
	if len(info.Proofs) != 1 {
		return statement{}, ErrOneProof
	}
	name, err := circuit.WinningName(info.Proofs[0].PoStProof)
	return statement{
		what:     fmt.Sprintf("groth16 winning PoSt of miner %d", info.Prover),
		name:     name,
		inputs:   func() ([][]r1cs.Element, error) { return circuit.WinningInputs(info) },
		circuits: func(vanilla []byte) ([]r1cs.Circuit, error) { return circuit.Winning(info, vanilla) },
		urgency:  seconds,
	}, err
}

// ProveWinning makes the winning PoSt for a block header: 192 bytes. The proof
// type is that of the single entry in info.Proofs, whose bytes are ignored.
func ProveWinning(ctx context.Context, keys Keys, info proof.WinningPoStVerifyInfo, vanilla []byte, o Options) ([]byte, error) {
	s, err := winning(info)
	if err != nil {
		return nil, err
	}
	return s.prove(ctx, keys, vanilla, o)
}

// VerifyWinning checks the single proof of info.
func VerifyWinning(ctx context.Context, keys Keys, info proof.WinningPoStVerifyInfo) (bool, error) {
	if len(info.Proofs) != 1 {
		return false, nil
	}
	s, err := winning(info)
	if err != nil {
		return false, err
	}
	return s.verify(ctx, keys, info.Proofs[0].ProofBytes)
}
