// Package links reads content identifiers as the VM does: the links inside a
// DAG-CBOR block and a binary CID at the start of a byte range.
//
// It decodes nothing else, and refuses indefinite lengths, trailing bytes and
// links of codecs or hashes that actor state may not use (ref-fvm
// fvm/src/ipld).
package links
