// Package prove reads sectors for proofs of spacetime: it finds the copy that the
// chain has, makes the vanilla proofs, and says of each sector that it left out
// why, where, and whether that is the sector's fault or may be ours.
//
// Each sector is read in a call of its own, under a limit, in a few places for
// each storage path or host (internal/breaker): a mount that hangs costs the
// sectors on it and nothing else, and they are skipped at once as long as it
// hangs. Not more files are open at a time than the places need.
//
// It refuses to believe what lies beside the data: a sector is compared with the
// CommR of the chain. It refuses to guess: a file on a path that is not mounted is
// not missing. It writes nothing and decides nothing about faults.
package prove
