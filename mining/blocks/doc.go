// Package blocks produces blocks: on every head it tries the next epoch, and
// the epochs after it as they pass without a block (lotus miner/miner.go), for as
// long as the chain stays silent. A head that the clock has left far behind is
// bridged with null rounds, by as few blocks as a header and the window PoSts that
// the miner owes on the way allow.
//
// It refuses to publish what package guard calls a fault, to work for an epoch
// that is already taken, to build on a node that is still fetching the chain, and
// to try at all on a network whose proofs this build cannot make.
package blocks
