package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// ProofSize is the length of an encoded proof: A and C compressed in G1 (48
// bytes each), B compressed in G2 (96 bytes), in the order A, B, C.
const ProofSize = 192

// Proof is one Groth16 proof.
type Proof struct {
	A bls.G1Affine
	B bls.G2Affine
	C bls.G1Affine
}

// VerifyingKey is what a verifier needs of a circuit's parameters.
type VerifyingKey struct {
	AlphaG1 bls.G1Affine
	BetaG1  bls.G1Affine
	BetaG2  bls.G2Affine
	GammaG2 bls.G2Affine
	DeltaG1 bls.G1Affine
	DeltaG2 bls.G2Affine
	IC      []bls.G1Affine // one for ONE and one for every public input
}
