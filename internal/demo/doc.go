// Command demo runs the main job on this machine: the embedded devnet, a
// private miner, a public markets node, a sealing worker and a client, each a
// process of its own; one storage deal from proposal to repeated proofs on
// chain; and the file fetched back and compared. `make demo` builds and runs
// it. It talks to the others as an operator would, through their commands and
// their RPC, and has no way around them.
package main
