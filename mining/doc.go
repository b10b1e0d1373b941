// Package mining is the subsystem that earns: it produces blocks (package
// blocks), proves the stored sectors to the chain (package window), and keeps
// the miner from signing faults (package guard). Both make the Groth16 form of
// their proofs where they are given a Snark; otherwise vanilla proofs are left
// with the node, which only an embedded devnet takes.
//
// It refuses to seal, to store and to fetch sectors: proofs over them come
// from the storage subsystem through an interface. On a network that takes
// only Groth16 proofs it says what it cannot do and does nothing that costs.
package mining
