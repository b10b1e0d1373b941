// Package groth16 proves and verifies rank-1 constraint systems over BLS12-381
// with the argument of Groth (2016), byte for byte as bellperson does: the same
// parameter, verifying-key and proof encodings, the same evaluation domain, the
// same order of variables. Given equal randomness it makes equal proofs and equal
// parameters.
//
// # Proving
//
// Prove walks the circuit once, keeps the values of its variables and rows (never
// its matrices), refuses a false statement by naming the first constraint that
// does not hold, transforms the rows to the quotient polynomial, and multiplies
// the points of the parameter file with the values. The points are read in blocks
// from a file or a mapping; zeros cost nothing and ones an addition, since most
// values are bits. MemoryEstimate says what it takes. Proofs are blinded with
// crypto/rand unless told otherwise; a proof with known blinding hides nothing.
//
// # Verifying
//
// Prepare a key once, then Verify any number of batches. Whatever is wrong with a
// proof makes the answer false.
//
// # Parameters
//
// OpenParams trusts the points of a file: compare its Digest with the published
// one, or run Check once. Generate makes parameters for a circuit from a secret
// drawn on the spot. Who has that secret can prove anything, so such parameters
// are for a devnet. The secret is in the state that the caller keeps while a
// generation may have to be resumed, and nowhere else; the caller removes it.
//
// # Devices
//
// ProveOptions.Kernel (package kernel) may do the transforms and multiplications;
// CPU is this package's code for them and does what is refused.
//
// The package reads and writes through small interfaces and refuses to open
// files, to know Filecoin's circuits, or to choose where parameters are kept.
package groth16
