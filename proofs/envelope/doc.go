// Package envelope is the 40-byte stand-in for a vanilla proof inside an
// on-chain proof field.
//
// Vanilla proofs are tens of kilobytes; proof fields of actor messages hold at
// most 192 bytes per partition. On networks that accept it, the field carries
// an 8-byte tag and the BLAKE2b-256 digest of the proof, and the proof itself
// travels as a raw block that every validating node loads and checks
// completely.
//
// The package moves bytes only: it never decides whether a proof is valid, and
// a field without the tag is simply not an envelope.
package envelope
