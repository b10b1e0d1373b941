// Package post proves, again and again, that sealed sectors are still there:
// winning and window proofs of spacetime in their vanilla form.
//
// Both show, for leaves of the replica tree picked by chain randomness, the
// path up to the sector's CommR (rust-fil-proofs storage-proofs-post/src/
// fallback). A proof over several sectors is the bincode form of a vector of
// FallbackPoStSectorProof, ascending by sector number.
//
// The package reads replicas and the two small files kept beside them (p_aux,
// tree-r-last). It signs nothing, sends nothing and keeps no state.
package post
