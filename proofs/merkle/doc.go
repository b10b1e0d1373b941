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
// Building and opening use all CPUs and the same 2 MiB or so per CPU whatever
// the size of the tree. A Builder's kernel (package kernel) may hash the rows in
// place of CPU, this package's code, and may want more at a time. Hashing goes by rows and by several paths at a time,
// because Poseidon in lanes is several times faster than one hash after the
// other: open leaves with ProveAll and check proofs with CheckAll where there is
// more than one. A build that was interrupted leaves a file that VerifyPoseidon,
// VerifyBinary and SamplePoseidon tell from a whole one; which of several base
// trees to build again is the caller's matter.
//
// The package also has the binary form of inclusion proofs (bincode 1, as
// rust-fil-proofs writes it) with a reader that accepts only the exact shape
// that is expected. It does not know what leaves mean and names no files.
package merkle
