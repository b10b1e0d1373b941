// Command miner is the node: mining, sealing, sector storage and markets, each
// switched on or off by its config, and the operator's commands for all of
// them.
//
// It reads flags and prints; what a process is made of is composed by node, and
// every question to a running process goes through its API.
package main
