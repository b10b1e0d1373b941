// Package wire holds the messages of the libp2p market protocols in their
// exact CBOR form: storage ask 1.1.0, deals mk/1.2.0 and mk/1.2.1, deal status
// 1.2.0 (filecoin-project/boost storagemarket/types, go-fil-markets
// storagemarket/network).
//
// The messages are maps with text keys. Writers emit the key order of cbor-gen;
// readers take any order, skip unknown keys and refuse duplicates. The package
// opens no streams and decides nothing about deals.
package wire
