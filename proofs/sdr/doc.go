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
// One sector is bound by the latency of SHA-256. Sectors of one seal proof share
// the graph, so a Batch labels two of them in step on one thread, in hardly more
// time than one. Where the CPU has instructions for SHA-256 (SHA-NI on amd64,
// SHA2 on arm64) labels are computed in assembly, elsewhere, and under the build
// tag purego, by crypto/sha256.
//
// A Batch's kernel (package kernel) may compute the labels in place of CPU, this
// package's code.
//
// Parents are computed, or read from a parent cache file.
//
// Two layers of each sector are kept in memory, or a window of them when less is
// allowed. Layers go to a Store; the package writes no file itself.
package sdr
