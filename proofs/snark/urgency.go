package snark

import "sync/atomic"

// urgency is how long a proof may wait. A late winning PoSt is a block lost, a
// late window PoSt power; a seal proof has days.
type urgency int

const (
	days    urgency = iota // seal, update
	minutes                // window PoSt
	seconds                // winning PoSt
	urgencies
)

// running counts the proofs being made by urgency. It is the process's, as the
// processors are: provers with other parameters compete for the same ones.
var running [urgencies]atomic.Int32

// yielding is the part of its workers that a proof keeps while a more urgent one
// is made, one in so many. It does not stop altogether: where window PoSts
// follow each other all day, sectors must still be sealed before their tickets expire.
const yielding = 4

// begin counts a proof until the returned function is called.
func (u urgency) begin() (end func()) {
	running[u].Add(1)
	return func() { running[u].Add(-1) }
}

// share is how many of a proof's workers it may use now.
func (u urgency) share(workers int) int {
	for more := u + 1; more < urgencies; more++ {
		if running[more].Load() > 0 {
			return workers / yielding
		}
	}
	return workers
}
