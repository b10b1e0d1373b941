// Package post proves, again and again, that sealed sectors are still there:
// winning and window proofs of spacetime in their vanilla form.
//
// Both show, for leaves of the replica tree picked by chain randomness, the
// path up to the sector's CommR (rust-fil-proofs storage-proofs-post/src/
// fallback). A proof over several sectors is the bincode form of a vector of
// FallbackPoStSectorProof, ascending by sector number.
//
// Window proofs are about whole deadlines: PartitionSectors of them make one
// partition, and SplitWindow takes a proof apart into those. Sectors that cannot be
// proved are left out, each with its reason (FindFaults). A sector that was
// updated is proved with the replica, cache and SealedCID of its update. Window
// proofs of api version 1.0, whose challenges depend on a sector's place, can be
// verified but not made.
//
// The package reads replicas and the two small files kept beside them (p_aux,
// tree-r-last). It signs nothing, sends nothing and keeps no state.
package post
