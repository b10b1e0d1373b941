// Package porep seals sectors and proves it: stacked depth-robust replication
// (SDR), its data, column and replica trees, vanilla proofs, their strict
// verification, and unsealing. Every byte it writes or returns equals
// rust-fil-proofs 19.1: a sector sealed by either can be proved by the other.
//
// The order of work on one sector:
//
//	PreCommit1   data tree and labels      needs ticket, pieces, unsealed bytes
//	PreCommit2   column tree, replica      gives CommR, which goes on chain
//	Synthesize   synthetic PoRep only: proofs of all challenges to select from
//	Prove        vanilla proof             needs the seed drawn after that
//	ClearCache   drops what only Prove (or Synthesize) used
//	Unseal       gives the data back, at the price of PreCommit1
//
// Files are reached through the Files and File interfaces only; the package
// opens no path, reads no configuration, writes no log and uses no network.
// It makes vanilla proofs, not Groth16 proofs; ProofJSON hands one to a prover
// elsewhere. Labels of sectors above 512 MiB take much memory: PreCommit1Memory
// says how much, LabelOptions.Memory limits it.
package porep
