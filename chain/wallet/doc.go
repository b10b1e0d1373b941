// Package wallet keeps private keys and signs with them, for the embedded node.
//
// Keys live in a Keystore, one record per key under the names that Lotus uses
// (wallet-<address>, plus "default"), so that a key exported from one can be
// imported by the other. Keys are never logged and never leave the package
// except through Export.
//
// It refuses to sign for addresses it holds no key of, and it resolves no ID
// addresses: the chain does that before it asks.
package wallet
