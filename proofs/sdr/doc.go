// Package sdr is the stacked depth-robust graph of a sector and the labels
// computed along it.
//
// Every node of a layer depends on six nodes before it in the same layer (base
// parents, bucket sampling) and eight nodes anywhere in the layer below
// (expansion parents, a Feistel permutation). A label is SHA-256 over the
// replica id, the place and the parents' labels, so labels can only be computed
// one after the other: that is what makes sealing slow on purpose. Sources:
// rust-fil-proofs storage-proofs-core/src/drgraph.rs, crypto/feistel.rs and
// storage-proofs-porep/src/stacked/vanilla/{graph,create_label,labeling_proof}.
//
// The package keeps two layers in memory and, for graphs up to 2^24 nodes, the
// expansion parents; it writes no file itself.
package sdr
