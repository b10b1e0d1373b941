// Package bench measures the proofs on the machine it runs on: seconds and peak
// memory of every phase of a sector's life, speed of the hashes, and whether a
// proof somebody else made is right. Every report names the machine.
//
// It uses the same functions as the subsystems do and adds nothing of its own to
// their work, so that its figures are theirs. It refuses to compare with figures
// from elsewhere, and to touch sectors of a running provider: it works in
// directories it is given.
package bench
