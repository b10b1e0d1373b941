// Package fvm executes Filecoin messages with the unmodified official built-in
// actors: WebAssembly modules run by wazero, a state tree, exact gas and the
// system calls that actors import. Rules follow filecoin-project/ref-fvm 4.8.
//
// One Engine per process compiles the actors; one Machine per tipset (or query)
// holds the state. A Machine belongs to one goroutine; several may run at once.
//
// It refuses bundles whose imports it does not know and network versions whose
// price list it does not carry. It knows no blocks, mempool or files: chain
// data and proof verification come through Externs and ProofVerifier.
package fvm
