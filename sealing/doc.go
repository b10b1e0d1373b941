// Package sealing turns pieces of data, or nothing but zeros, into sectors that
// are committed on chain: it packs pieces, draws the ticket, has the storage
// subsystem compute, pre-commits, waits for the seed, proves, commits and
// finalizes. A sector of zeros that an operator marked takes data later without
// being sealed again: its replica is updated, proved, submitted, and the old one
// dropped when nobody can ask for it any more.
//
// Every sector is a record and a state. A pure table (fsm.go) says which event
// leads from which state to which, the record is written and synced before the
// next side effect starts, and every side effect is keyed, so that a process
// killed at any instant goes on where it was. Sectors may share messages; who is
// in one is written down before it goes out.
//
// It refuses to start a sector on a network that accepts no proof form this
// build can make, to place a piece whose deal cannot be met, and to guess: when
// the chain or storage cannot be reached a sector stays where it is, with the
// reason and the time of the next try visible. It computes no proofs, opens no
// files and never signs.
package sealing
