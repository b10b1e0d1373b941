// Package genesis builds the first state and block of an embedded devnet.
//
// The state is made by running the real constructors of the official actors in
// the VM; only what they cannot do themselves (account entries, the provisional
// power of pre-sealed sectors) is edited by the host, in the order of lotus
// chain/gen/genesis. The same configuration always gives the same state root.
//
// It refuses to create power without sectors: every genesis sector is named by
// the sealed CID of a replica that exists and will be asked for proofs.
package genesis
