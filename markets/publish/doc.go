// Package publish puts deals on chain: it gathers them into PublishStorageDeals
// messages, keeps the provider's escrow large enough for their collateral, and
// finds the deal IDs in the receipt.
//
// A batch is written down before its message is pushed and is pushed under a key
// that never changes, so a restart sends nothing twice (the message sender's
// contract). Batches are sent beside each other. One that lacks collateral adds
// it by a message of its own and waits for that alone; one that fails as a whole
// is given up, and its deals go on in messages of their own. The package decides
// nothing about which deals are good; a deal that the market actor would drop is
// found by simulation and fails alone.
package publish
