// Package pieces remembers which pieces the provider holds, where, and where in
// each piece the blocks of its CAR are.
//
// The state is in a datastore: /piece/<cid> one JSON record, /block/<multihash>/
// <piece> offset and length of the block's data. A payload that is no CAR is
// recorded with zero blocks and the reason. The package reads payloads when it
// indexes them; it never serves them and does not trust block hashes written in
// a CAR (readers check what they read).
package pieces
