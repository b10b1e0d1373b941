// Package gadget is the parts that Filecoin's circuits are put together from:
// bits, 32-bit words, SHA-256, Poseidon, conditional picks and Merkle paths.
//
// A Builder stands between a circuit and a constraint system. Its methods compute
// values and tell the system of the variables and constraints that bind them, in
// exactly the order of bellpepper (crates/bellpepper, bellpepper-core), neptune
// (src/circuit.rs) and rust-fil-proofs (storage-proofs-core/src/gadgets), because
// parameters only fit a circuit whose order is the same.
//
// Bits cost a constraint when they are allocated and nothing when they are
// constants: operations on constants fold, as they do in the reference, and the
// shape of a circuit depends on it.
//
// Gadgets never look at a value to decide what to allocate. They check nothing
// themselves: a wrong value makes a constraint that does not hold.
package gadget
