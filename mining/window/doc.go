// Package window proves the miner's sectors to the chain, deadline after
// deadline: it makes the window PoSt of each deadline as soon as its challenge
// is known, submits it while the deadline is open, follows the message to its
// receipt, and declares faults and recoveries in time for the next proof
// (lotus storage/wdpost, actors miner).
//
// What it is about to send is on disk before it is sent, so that a restart in
// the middle of a window neither submits twice nor forgets to count.
//
// It refuses to substitute a proof it cannot make: sectors that cannot be read
// are skipped, which the chain treats as faults. It refuses to take its own trouble
// for theirs: what may come back is read again while there is time, a fault is
// declared beforehand only beyond doubt, and a recovery that failed is not repeated
// before something has changed.
package window
