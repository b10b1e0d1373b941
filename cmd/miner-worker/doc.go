// Command miner-worker does sealing work for a private node: it asks for tasks,
// works on its own disks, and lets the node and other workers fetch the results.
// It also keeps the parameters of Groth16 proofs (params) and measures the
// machine (bench).
//
// It links neither libp2p nor the embedded chain, decides nothing about sectors,
// and holds no key: what it proves is checked by the private node before it is
// sent.
package main
