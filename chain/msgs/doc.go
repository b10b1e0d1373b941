// Package msgs puts messages on chain exactly once per caller's key, whatever
// crashes in between, and waits for their receipts.
//
// For every key an id is written to disk before the message is pushed. The
// full node answers a repeated id with the message it already made for it
// (lotus node/impl/full/mpool.go, MpoolPushMessage), so a process that died
// between the push and its own note of it learns the CID by asking again.
//
// It refuses to choose nonces, to sign, to estimate gas (the node does all
// three) and to judge exit codes: a message that failed on chain was sent.
package msgs
