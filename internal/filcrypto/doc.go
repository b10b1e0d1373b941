// Package filcrypto signs and verifies in the two key types of Filecoin
// accounts: BLS12-381 (public keys in G1, signatures in G2) and secp256k1 with
// recoverable signatures over blake2b-256. It is pure Go.
//
// It keeps no keys, knows nothing of messages or blocks, and refuses delegated
// (f4) signatures: no account that this suite serves uses them.
package filcrypto
