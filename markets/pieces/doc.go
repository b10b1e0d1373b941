// Package pieces remembers which pieces the provider holds, where, and where in
// each piece the blocks of its CAR are.
//
// The state is in a datastore: /piece/<cid> one JSON record, /block/<multihash>/
// <piece> offset and length of the block's data, /lied/<piece> for pieces that
// held other bytes than their CIDs say. A payload that is no CAR is recorded with
// zero blocks and the reason; one that is not whole is indexed as far as it is
// good, and the record says what is not. Blocks are hashed when they are indexed,
// so that nobody gets a place in the index for bytes he does not have; readers
// check again what they read, as the bytes may have changed. The package never
// serves payloads.
package pieces
