// Package node composes a miner process: it reads what the switches say,
// builds each part that runs here, connects to the others by RPC, serves
// their interfaces, and stops everything in reverse order within a budget.
//
// It decides nothing about deals, sectors or blocks. The wiring is one
// function per part, to be read from top to bottom: local when the switch is
// on, the client of the same interface when a peer is named, else absent.
package node
