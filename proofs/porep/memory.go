package porep

import (
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
)

// The functions here say how much memory a stage needs at most, in bytes, beside
// what the program uses anyway. They are for reserving memory before the stage
// begins. Buffers of files that the operating system keeps are not counted: it
// gives them up when asked.

// PreCommit2Memory is what PreCommit2 needs with workers running at once (as
// many as GOMAXPROCS): up to 5 MiB each, whatever the sector size.
func PreCommit2Memory(proof abi.RegisteredSealProof, workers int) (uint64, error) {
	return PreCommit2MemoryOn(proof, workers, nil)
}

// PreCommit2MemoryOn is what PreCommit2With needs with a kernel, which may want
// more at a time than the CPU; nil is the CPU.
func PreCommit2MemoryOn(proof abi.RegisteredSealProof, workers int, on kernel.Trees) (uint64, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return 0, err
	}
	chunk := merkle.Builder{Kernel: on}.Chunk(par.shape.BaseLeaves())
	columns := columnsAtOnce(kernel.TreesOr(on, merkle.CPU{}), chunk)
	// A chunk and the rows over it as elements, a part of it as bytes, and the
	// room for putting leaves together; a quarter more, because the garbage of
	// reading is collected late.
	worker := merkle.NodeSize * (chunk*8/7 + min(chunk, 1<<15) + uint64(batchNodes*2+columns*par.layers))
	tops := par.shape.BaseLeaves() / chunk * merkle.NodeSize
	return uint64(max(1, workers))*worker*5/4 + 2*tops + 4<<20, nil
}

// ProveMemory is what Prove and Verify need: the proof, once taken apart and once
// as bytes. 22 MiB for 32 GiB, 280 MB for its non-interactive proof.
func ProveMemory(proof abi.RegisteredSealProof) (uint64, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return 0, err
	}
	// Slices and their headers make the parts a half larger than the bytes.
	return uint64(par.blobSize())*5/2 + 1<<20, nil
}

// SynthesizeMemory is what Synthesize needs with workers running at once.
func SynthesizeMemory(proof abi.RegisteredSealProof, workers int) (uint64, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return 0, err
	}
	return uint64(max(1, workers))*uint64(par.synthSize())*(synthBatch+3) + 1<<20, nil
}
