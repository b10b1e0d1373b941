// Command miner-client is the client's side of the markets: it packs files,
// makes storage deals with providers found on chain, follows them, and
// retrieves content, verifying every block.
//
// It keeps no keys: the full node's wallet signs and pays.
package main
