// Package devnet is an embedded Filecoin full node: one process that keeps a
// real chain (blocks, messages, signatures, expected consensus, state trees)
// and executes it with the official actors in chain/fvm.
//
// A clock closes one epoch per pace interval. Blocks for the open epoch are
// taken from SyncSubmitBlock and from the genesis miner inside this package,
// validated by the rules of lotus chain/consensus/filcns, and form a tipset
// when the epoch closes; no block means a null round. Time is only ever sped
// up: by the pace, and by running null rounds back to back (warp).
//
// A chain that stood without blocks is gone through again when the node starts,
// with the proofs that the genesis miner owes; see catchUp.
//
// Proof fields may hold Groth16 proofs, where the node was given keys, or the name
// of a vanilla proof that was put on the node before (ChainPutObj).
//
// It refuses to accept a proof that it has not verified, to take a block for a
// closed epoch, and to talk to other nodes: there is no gossip.
package devnet
