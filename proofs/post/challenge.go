package post

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// Challenges per sector (filecoin-proofs/src/constants.rs).
const (
	winningChallenges = 66
	windowChallenges  = 10
	// winningSectors is how many sectors one winning proof is about.
	winningSectors = 1
)

// families of five registered PoSt proofs, one per sector size.
const (
	endWinning  = 5
	endWindow   = 10 // window proofs of api version 1.0
	endWindow11 = 15
)

// kind is what a registered PoSt proof says, apart from the sector size.
type kind struct {
	challenges int
	// positional challenges depend on the sector's place in the proof, as those
	// of api version 1.0 do.
	positional bool
}

var (
	winning   = kind{challenges: winningChallenges, positional: true}
	windowV1  = kind{challenges: windowChallenges, positional: true}
	windowV11 = kind{challenges: windowChallenges}
)

func kindOf(p abi.RegisteredPoStProof) (kind, error) {
	switch {
	case p >= 0 && p < endWinning:
		return winning, nil
	case p >= endWinning && p < endWindow:
		return windowV1, nil
	case p >= endWindow && p < endWindow11:
		return windowV11, nil
	}
	return kind{}, fmt.Errorf("post: PoSt proof %d is not known", p)
}

// leaves are the challenged leaves of the sector at place in the proof, among
// nodes leaves.
func (k kind) leaves(rand [32]byte, sector abi.SectorNumber, place int, nodes uint64) []uint64 {
	out := make([]uint64, k.challenges)
	first := uint64(0)
	if k.positional {
		first = uint64(place) * uint64(k.challenges)
	}
	msg := append(make([]byte, 0, 48), rand[:]...)
	msg = binary.LittleEndian.AppendUint64(msg, uint64(sector))
	for i := range out {
		d := sha256.Sum256(binary.LittleEndian.AppendUint64(msg, first+uint64(i)))
		out[i] = binary.LittleEndian.Uint64(d[:8]) % nodes
	}
	return out
}

// randomness is the challenge seed as a field element: the two top bits are
// cleared, as the reference's callers do.
func randomness(r abi.PoStRandomness) (out [32]byte, err error) {
	if len(r) != len(out) {
		return out, fmt.Errorf("post: randomness of %d bytes, not %d", len(r), len(out))
	}
	copy(out[:], r)
	out[31] &= 0x3f
	return out, nil
}

// WinningSector picks which of eligible sectors, counted from 0 in ascending
// order of sector number, a winning proof must be about. It is one index for
// every known winning proof. No eligible sector is an error.
func WinningSector(p abi.RegisteredPoStProof, miner abi.ActorID, rand abi.PoStRandomness, eligible uint64) ([]uint64, error) {
	if k, err := kindOf(p); err != nil || k != winning || p >= endWinning {
		return nil, fmt.Errorf("post: %d is no winning PoSt proof", p)
	}
	r, err := randomness(rand)
	if err != nil {
		return nil, err
	}
	if eligible == 0 {
		return nil, fmt.Errorf("post: miner t0%d: %w to pick from", miner, ErrNoSectors)
	}
	prover := sdr.ProverID(uint64(miner))
	out := make([]uint64, winningSectors)
	for n := range out {
		msg := append(append(make([]byte, 0, 72), prover[:]...), r[:]...)
		d := sha256.Sum256(binary.LittleEndian.AppendUint64(msg, uint64(n)))
		out[n] = binary.LittleEndian.Uint64(d[:8]) % eligible
	}
	return out, nil
}

// shapeOf is the tree shape of the sectors of a seal proof.
func shapeOf(p abi.RegisteredSealProof) (merkle.Shape, error) {
	size, err := p.SectorSize()
	if err != nil {
		return merkle.Shape{}, fmt.Errorf("post: seal proof %d: %w", p, err)
	}
	return merkle.ShapeOf(uint64(size) / merkle.NodeSize)
}
