// Package guard keeps a miner from signing itself into a consensus fault. It
// remembers on disk every block that was about to be broadcast and refuses
// those a reporter could use: a second block of one height, a second block on
// the same parents, a block that ignores the miner's own block at the parents'
// height (lotus chain/gen/slashfilter/slashfilter.go, the same keys).
//
// It refuses to help where it cannot: its memory is that of one repo, so a
// second copy of the miner, or an older backup, is not protected.
package guard
