// Package heads follows the head of a Filecoin chain through the Lotus v1 RPC
// and tells any number of readers, in order, which tipsets left the chain and
// which joined it.
//
// The node closes a notification channel whenever its reader is slow and a
// connection can end at any time (lotus chain/store/store.go, SubHeadChanges).
// The follower therefore subscribes again for ever, and asks the node for the
// path from the last tipset it reported to the new head, so that a reader
// never misses a revert. A slow reader of its own never slows down the others:
// what it has not read yet is folded into one event. Where even that would be too
// long, or the node has replaced its chain, the event is a gap: it names the head
// and nothing else, and its reader must read again what it goes by.
//
// It refuses to decide which chain is the right one (the node does), to fetch
// state, and to keep anything on disk: after a restart of the process the
// first event carries the current head alone.
package heads
