package post

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
)

// PartitionSectors is how many sectors one partition of a window proof holds:
// one Groth16 proof covers them, and the chain splits deadlines alike
// (filecoin-proofs/src/constants.rs WINDOW_POST_SECTOR_COUNT).
func PartitionSectors(p abi.RegisteredPoStProof) (uint64, error) {
	if _, err := kindOf(p); err != nil {
		return 0, err
	}
	if p < endWinning {
		return 0, fmt.Errorf("post: %d is no window PoSt proof", p)
	}
	return partitionSectors[int(p)%len(partitionSectors)], nil
}

// partitionSectors goes by sector size: 2 KiB, 8 MiB, 512 MiB, 32 GiB, 64 GiB.
var partitionSectors = [5]uint64{2, 2, 2, 2349, 2300}

// Partitions is how many partitions a window proof over sectors has. No sectors
// are an error.
func Partitions(p abi.RegisteredPoStProof, sectors uint64) (uint64, error) {
	per, err := PartitionSectors(p)
	if err != nil {
		return 0, err
	}
	if sectors == 0 {
		return 0, fmt.Errorf("post: partitions: %w", ErrNoSectors)
	}
	return (sectors-1)/per + 1, nil
}

// SplitWindow takes a window proof, as ProveWindow makes it over sectors
// sectors, apart into one blob for each partition: the sectors in ascending
// order, PartitionSectors of them each, the last one possibly fewer. Each blob
// verifies against its own sectors.
func SplitWindow(p abi.RegisteredPoStProof, sectors uint64, blob []byte) ([][]byte, error) {
	n, err := Partitions(p, sectors)
	if err != nil {
		return nil, err
	}
	k, err := kindOf(p)
	if err != nil {
		return nil, err
	}
	f, err := formOf(p)
	if err != nil {
		return nil, err
	}
	if sectors > uint64(len(blob)) { // before it is multiplied
		return nil, fmt.Errorf("post: %d bytes cannot prove %d sectors: %w", len(blob), sectors, merkle.ErrFormat)
	}
	proofs, err := unmarshal(blob, int(sectors), k, f)
	if err != nil {
		return nil, fmt.Errorf("post: splitting a window proof: %w", err)
	}
	per := partitionSectors[int(p)%len(partitionSectors)]
	out := make([][]byte, 0, n)
	for len(proofs) > 0 {
		m := min(per, uint64(len(proofs)))
		out = append(out, marshal(proofs[:m], f))
		proofs = proofs[m:]
	}
	return out, nil
}

// SectorProofs takes a proof over sectors sectors, winning or window, apart into
// one blob for each sector: the bincode of the reference's FallbackPoStSectorProof,
// which its GenerateWinningPoStWithVanilla and GenerateWindowPoStWithVanilla take.
// Whether the proof is right is not checked.
func SectorProofs(p abi.RegisteredPoStProof, sectors uint64, blob []byte) ([][]byte, error) {
	k, err := kindOf(p)
	if err != nil {
		return nil, err
	}
	f, err := formOf(p)
	if err != nil {
		return nil, err
	}
	size := proofSize(k, f)
	if sectors > uint64(len(blob)) { // before it is multiplied
		return nil, fmt.Errorf("post: %d bytes cannot prove %d sectors: %w", len(blob), sectors, merkle.ErrFormat)
	}
	if _, err := unmarshal(blob, int(sectors), k, f); err != nil {
		return nil, fmt.Errorf("post: splitting a proof by sectors: %w", err)
	}
	out := make([][]byte, sectors)
	for i := range out {
		out[i] = blob[8+i*size : 8+(i+1)*size : 8+(i+1)*size]
	}
	return out, nil
}

// formOf is the form of openings in proofs of sectors of p's size.
func formOf(p abi.RegisteredPoStProof) (merkle.Form, error) {
	size, err := p.SectorSize()
	if err != nil {
		return merkle.Form{}, fmt.Errorf("post: PoSt proof %d: %w", p, err)
	}
	s, err := merkle.ShapeOf(uint64(size) / merkle.NodeSize)
	return s.PoseidonForm(), err
}

// WindowMemory is what ProveWindow needs at most over sectors sectors of a seal
// proof, in bytes: the proof, once taken apart and once as bytes. 150 MB for a
// partition of 2349 sectors of 32 GiB.
func WindowMemory(p abi.RegisteredSealProof, sectors uint64) (uint64, error) {
	s, err := shapeOf(p)
	if err != nil {
		return 0, err
	}
	return sectors*uint64(proofSize(windowV11, s.PoseidonForm()))*5/2 + 1<<20, nil
}
