package groth16

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// MemoryEstimate is about how many bytes Prove keeps at its peak for a circuit of
// the given size (inputs with ONE), not counting the circuit itself and
// parameters in memory: three vectors of the evaluation domain, the values of the
// variables, twiddle factors, and the points that are multiplied together. Go's
// collector may let the process grow to twice that; GOMEMLIMIT bounds it.
//
// A partition of the 2 KiB PoRep takes 0.6 GiB, one of the 32 GiB PoRep 17 GiB.
func MemoryEstimate(constraints, inputs, aux int) int64 {
	domain := int64(domainSize(constraints + inputs))
	vars := int64(inputs + aux)
	transform := domain * fr.Bytes / 8
	chunk := min(domain, chunkG1+blockPoints)
	multiply := chunk*(g1Uncompressed+fr.Bytes) + chunk*2*17 // points, scalars, their digits
	return 3*domain*fr.Bytes + vars*fr.Bytes + vars/2 + max(transform, multiply) + 32<<20
}

// GenerateMemoryEstimate is MemoryEstimate for Generate: three scalars for every
// variable and the tables of multiples.
func GenerateMemoryEstimate(inputs, aux int) int64 {
	return 3*int64(inputs+aux)*fr.Bytes + 96<<20
}
