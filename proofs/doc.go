// Package proofs is the door to Filecoin's storage proofs in plain Go. It holds
// no code; this page says how the packages below it fit together. docs/proofs.md
// tells the same at length, with sizes and costs.
//
// # From bytes to a sector
//
// A client's payload is padded (fr32) so that every 32 bytes, a node, are an
// element of the BLS12-381 scalar field, and committed to as a piece (commp):
// CommP. Pieces laid side by side fill a sector; the same tree over the whole
// sector gives CommD, the data commitment.
//
//	payload ──fr32──► padded data ──SHA-256 tree──► CommP, CommD
//
// Cost: one SHA-256 of 64 bytes for every 32. Sectors have 2 KiB, 8 MiB, 512 MiB,
// 32 GiB or 64 GiB. Specified in rust-fil-proofs fr32, filecoin-proofs
// src/pieces.rs.
//
// # From a sector to a replica
//
// Sealing (porep) makes a copy of the data that only this miner has, and that
// takes long to make.
//
//	layer l-1    o   o   o   o   o   o   o       8 expansion parents, anywhere
//	              \      |      /
//	layer l      o   o─o─o─►(i)      o   o       6 base parents before i, i-1 among them
//
// Labels are computed layer by layer along a graph (sdr) whose edges force the
// order: 2 layers, or 11 in sectors of 32 and 64 GiB; 20 blocks of SHA-256 for a
// label, one label after the other. The label of the last layer is added to each
// data node, which gives the replica. Three trees pin everything down:
//
//	data                     ──tree-d──────► CommD
//	columns of labels        ──tree-c──────► CommC     ┐
//	label of layer L + data  ──tree-r-last─► CommRLast ┴─Poseidon─► CommR
//
// The latter two are of Poseidon (poseidon, merkle), eight children to a node. In
// a 32 GiB sector tree-d has 64 GiB, the layers 352, tree-c 37, and what is kept
// of tree-r-last 73 MiB. CommR goes on chain before the challenges are known.
// Specified in storage-proofs-porep src/stacked, storage-proofs-core.
//
// # The proof of replication
//
// It opens random nodes: the data node, the labels of the node and of its
// fourteen parents, the replica node, each with its path. A verifier hashes every
// path and label again. 180 nodes of a 32 GiB sector make 11 MB. Challenges come
// from a seed of the chain (interactive); from the seed's choice among nodes that
// were proved before it was known (synthetic, FIP-0059), so that layers can go
// early; or from CommR itself, 2268 of them (non-interactive, FIP-0090).
//
// # Day after day
//
// Proofs of spacetime (post) open random replica nodes under CommR: one sector,
// 66 nodes, for winning a block; all sectors, ten nodes each, every day. For
// that only the replica and two small files are kept. An opening of a 32 GiB
// sector reads 16 KiB and computes some 80 hashes. Specified in
// storage-proofs-post src/fallback.
//
// # Changing the data
//
// An empty sector can take data without sealing again (update, FIP-0019): each
// new node is the old one plus the data times a factor known only once the data
// is. The data can be decoded, or taken out again, which gives back the old
// replica. Specified in storage-proofs-update.
//
// # What goes on chain
//
// The proofs above are vanilla: kilobytes to megabytes, checked by hashing. A
// chain takes 192 bytes for each partition of one, a Groth16 proof that somebody
// knows it:
//
//	vanilla ──circuit──► constraints, witness ──groth16──► 192 bytes ──snarkpack──► aggregate
//
// r1cs is the language of circuits, gadget their parts, circuit the four
// statements; groth16 proves and verifies, snarkpack aggregates, snark joins
// them. A partition of a PoRep of 32 GiB has 130 million constraints and
// parameters of 47 GB, one of 2 KiB 2.7 million. porep.ProofJSON hands a vanilla
// proof to a prover elsewhere. envelope lets an on-chain proof field of a network
// that allows it point at a vanilla proof instead.
//
// # Devices
//
// kernel is the seam below all this at which a device can take over labels, tree
// hashing, sums of points and transforms; the CPU is its first backend and the
// default everywhere.
//
// # Rules
//
// Everything is bit-compatible with rust-fil-proofs 19.1 and is tested against
// its outputs. Functions take readers, small file interfaces and contexts; they
// open no path, read no configuration, write no log and use no network. Those
// that need much memory have a function that says how much. Verify functions
// answer false for whatever is wrong, an error only when they could not decide,
// and never panic.
package proofs
