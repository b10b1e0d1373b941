// Package interop drives a spawned miner-devnet with Lotus's own RPC client:
// the wire format, the JSON of every type and the rules for blocks as an
// unmodified Lotus tool sees them.
//
// It is a module of its own, because Lotus brings hundreds of modules that the
// suite itself does without.
package interop
