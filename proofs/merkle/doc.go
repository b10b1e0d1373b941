// Package merkle builds, stores and opens the trees of a sector.
//
// A sector has three trees. Tree-d, over the unsealed data, is binary SHA-256
// and decides CommD. Tree-c, over label columns, and tree-r-last, over the
// replica, are Poseidon trees with eight children per node; large sectors join
// several such base trees by a sub and a top level. On disk a tree is its rows,
// leaves first, one base tree per file; tree-r-last leaves out the leaves and a
// few rows above them, which come from the replica when a path is opened
// (filecoin-project/merkletree src/store, src/merkle.rs).
//
// The package also has the binary form of inclusion proofs (bincode 1, as
// rust-fil-proofs writes it) with a reader that accepts only the exact shape
// that is expected. It does not know what leaves mean and names no files.
package merkle
