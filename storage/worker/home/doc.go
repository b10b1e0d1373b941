// Package home knows which miner a worker belongs to, and lets it speak to the
// private node of that miner only.
//
// A worker belongs to the miner, on the network, of the first private node that it
// meets; that is remembered in its repo. Before anything else is sent to a node,
// and again whenever another process answers at its address, the node is asked who
// it is. One of another miner or network, or one that is no private node, gets no
// call: tasks of strangers are not done, and what was computed for one's own is
// kept until the right node is back.
//
// The package decides nothing about tasks. It trusts the first node that it meets:
// whoever gives a worker an address and a token means that node.
package home
