// Package bundle carries the official built-in actors that are compiled into
// the program: a CAR of WebAssembly modules and their manifest, with every
// block checked against its CID when loaded.
//
// The archive itself is not part of the source tree; build/bundle puts it into
// data/. Without it Devnet returns ErrNotBuiltIn. The package runs no code.
package bundle
