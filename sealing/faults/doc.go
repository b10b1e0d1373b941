// Package faults remembers which sectors of the miner the chain counts as
// faulty, since when, and what is known of the reason, so that an operator finds
// them where sectors are listed.
//
// The chain knows only that a sector is faulty, not since when: the package
// looks every few epochs and writes down when it first saw it. It refuses to
// guess: what was faulty already at the first look is said to be so, and a look
// that failed leaves what was known as it was. It declares nothing and repairs
// nothing; that is the work of window PoSt.
package faults
