// Package update puts data into an already sealed, empty sector (SnapDeals,
// FIP-0019) and proves that this was done right.
//
// Every node of the new replica is the old one plus the data node times a
// factor, rho, that only the new data and the old replica decide. CommC stays
// what it was; CommRLast and with it CommR change. A vanilla proof opens random
// nodes of the old replica, the new data and the new replica
// (rust-fil-proofs storage-proofs-update/src).
//
//	Encode          old replica, data      -> updated replica, its trees
//	Prove, Verify   old and updated        vanilla proof of all partitions
//	Decode          old and updated        -> any range of the data
//	RegenerateKey   updated replica, data  -> old replica, its tree-r-last
//
// Files are reached through porep.Files. The package does not know whether the
// old sector was empty: the arithmetic holds for any, the protocol demands it.
package update
