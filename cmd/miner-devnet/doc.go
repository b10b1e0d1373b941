// Command miner-devnet is an embedded Filecoin full node for development: real
// chain, official actors, real proofs, epochs of 100 ms.
//
// It relaxes no rule of the network but the pace of epochs and the form of
// proofs, and is of no use on a public network.
package main
