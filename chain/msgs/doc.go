// Package msgs puts messages on chain exactly once per caller's key, whatever
// crashes in between, and waits for their receipts.
//
// For every key an id is written to disk before the message is pushed. The
// full node answers a repeated id with the message it already made for it
// (lotus node/impl/full/mpool.go, MpoolPushMessage), so a process that died
// between the push and its own note of it learns the CID by asking again. A node
// that does not know the id any more, or another node, is first searched for the
// message itself: in its pool, and in what the sender has sent since.
//
// Who waits for a message looks after it. One that the node lost is pushed
// again. One that is not included, because the base fee rose or others pay more,
// is replaced under its own nonce by one that pays more, as far as the fee limit
// allows; where the limit stands in the way it is named in the log and in
// Waiting. One whose nonce went to somebody else's message is sent again under a
// new nonce, once that is as certain as a receipt must be and no message ever
// made for the key is on chain. Every message is on disk before it is pushed.
//
// It refuses to choose nonces for new messages, to estimate gas (the node does
// both, under one lock for all its users) and to judge exit codes: a message
// that failed on chain was sent.
package msgs
