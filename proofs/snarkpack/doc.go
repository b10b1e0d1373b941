// Package snarkpack aggregates Groth16 proofs over BLS12-381: n proofs of one
// circuit become one proof of logarithmic length that a verifier checks in
// logarithmic time. Filecoin's miners use it to prove many sectors in one
// message (FIP-0013) and for non-interactive PoRep (FIP-0092). Every byte equals
// bellperson src/groth16/aggregate.
//
// # The scheme
//
// SnarkPack (Gailly, Maller, Nitulescu, 2021) rests on a structured reference
// string (SRS): powers of two secrets α and β in both groups, made in public
// ceremonies. A verifier needs six of its points, a prover 2n in G1 and n in G2.
//
//	commit    T, U: pairing commitments to all A and B, and to all C
//	r         a challenge over the commitments and the caller's bytes
//	combine   Z = Π e(A_i, r^i·B_i) and Σ r^i·C_i: n Groth16 equations become
//	          one in which only Z, the sum of the C and the public inputs occur
//	halve     log2 n rounds (GIPA): the two halves of every vector are folded
//	          into one by a challenge; the cross terms go into the proof. Z is
//	          shown to belong to the committed A, B (TIPP), the sum to C (MIPP)
//	open      the commitment keys folded to one point each; a KZG opening shows
//	          that this is the fold of the SRS, so the verifier need not do it
//
// The verifier repeats the challenges, folds the commitments in the exponent and
// checks nine equations between pairings and the Groth16 equation, all in one
// product with random coefficients of its own.
//
// # Versions
//
// V1 does not hash the first round's cross terms before that round's challenge,
// nor the last values before the opening point; V2 does. V1 is here for the
// proofs that stand on chain; new proofs are V2, the only version today's miner
// actor accepts.
//
// # What it does not decide
//
// The caller's include bytes bind everything the public inputs depend on that is
// not known before aggregation: for PoRep the hash of the seeds and CommRs. Who
// forgets them proves less than intended. Which circuit, which sectors and which
// size limits apply is for the caller.
//
// # What it refuses
//
// Parsing refuses wrong lengths, coordinates not below the modulus, points off
// the curve or outside the subgroup, target-group elements outside the group of
// order r, and counts that are no power of two from 2 to 65,536. Verify answers
// false for whatever is wrong and an error only when it could not decide. The
// package opens no path: an SRS comes through an io.ReaderAt.
package snarkpack
