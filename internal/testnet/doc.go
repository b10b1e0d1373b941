// Package testnet runs a whole network of our processes on the loopback
// address: the embedded devnet, a private miner, a public markets node, sealing
// workers and clients, each a process of its own with a repo and a log in one
// directory. The demo tells a story with it, the soak does harm to it.
//
// It talks to the processes as an operator would, through their commands and
// their RPC, and has no way around them. It knows no assertion and no accident:
// those belong to whoever uses it.
package testnet
