// Package commp computes piece commitments (CommP) and sector data commitments
// (CommD).
//
// A piece commitment is the root of a binary tree over the fr32-padded payload:
// leaves are the 32-byte nodes themselves, an inner node is SHA-256 of its two
// children with the two top bits cleared (rust-fil-proofs
// filecoin-proofs/src/pieces.rs). A CommD is the same tree over all pieces of a
// sector, each at a multiple of its own size, gaps being zero.
//
// On amd64 with SHA instructions two nodes are hashed side by side in assembly;
// everywhere else, and under the build tag purego, crypto/sha256 does it.
//
// The package reads streams and returns commitments. It stores nothing and does
// not know where pieces are kept.
package commp
