// Package proofs is the door to Filecoin's storage proofs in plain Go. It holds
// no code; this page says how the packages below it fit together.
//
// # From bytes to a sector
//
// A client's payload is padded (fr32) so that every 32 bytes are an element of
// the BLS12-381 scalar field, and committed to as a piece (commp): CommP. Pieces
// laid side by side fill a sector; the same tree over the whole sector gives
// CommD, the data commitment.
//
// # From a sector to a replica
//
// Sealing (porep) makes a copy of the data that only this miner has, and that
// takes long to make. Labels are computed layer by layer along a graph (sdr)
// whose edges force the order; the label of the last layer is added to each data
// node, which gives the replica. Three trees pin everything down: tree-d over
// the data, tree-c over the columns of labels, tree-r-last over the replica, the
// latter two with Poseidon (poseidon, merkle). CommR, hashed from the roots of
// tree-c and tree-r-last, goes on chain before the challenges are known.
//
// The proof of replication opens random nodes: the data node, the labels of the
// node and of its fourteen parents, the replica node, each with its path. A
// verifier hashes every path and label again.
//
// # Day after day
//
// Proofs of spacetime (post) open random replica nodes under CommR: one sector,
// 66 nodes, for winning a block; all sectors, ten nodes each, every day. For
// that only the replica and two small files are kept.
//
// # Changing the data
//
// An empty sector can take data without sealing again (update).
//
// # What travels
//
// All proofs here are vanilla: tens of kilobytes, checked by hashing. envelope
// lets an on-chain proof field point at one. Groth16 proofs of the same
// statements are not built yet; porep.ProofJSON hands a vanilla proof to a
// prover that makes them.
//
// # Rules
//
// Everything is bit-compatible with rust-fil-proofs 19.1 and is tested against
// its outputs. Functions take readers, small file interfaces and contexts; they
// open no path, read no configuration, write no log and use no network. Verify
// functions answer false for whatever is wrong, an error only when they could
// not decide, and never panic.
package proofs
