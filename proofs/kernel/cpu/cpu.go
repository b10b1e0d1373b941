package cpu

import (
	"quarry/proofs/groth16"
	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// Set is the CPU for every kind of work. It refuses nothing but widths of columns
// that Poseidon has no parameters for.
func Set() kernel.Set {
	return kernel.Set{
		Labels:     sdr.CPU{},
		Trees:      merkle.CPU{},
		Points:     groth16.CPU{},
		Transforms: groth16.CPU{},
	}
}
