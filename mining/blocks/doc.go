// Package blocks produces blocks: on every head it tries the next epoch, and
// the epochs after it as they pass without a block (lotus miner/miner.go).
//
// It refuses to publish what package guard calls a fault, to work for an epoch
// that is already taken, and to try at all on a network whose proofs this
// build cannot make.
package blocks
