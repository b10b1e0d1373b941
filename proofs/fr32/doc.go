// Package fr32 converts payload bytes to and from the padded form that sectors
// are made of.
//
// Storage proofs work on elements of the BLS12-381 scalar field, which holds
// 254 whole bits. Payload is therefore spread out: every 254 bits of it fill
// one 32-byte little-endian node whose two top bits stay zero, so 127 payload
// bytes become 128 padded bytes (one "quad" of four nodes). The layout is that
// of rust-fil-proofs fr32/src/padding.rs.
//
// The package refuses partial quads in Pad and Unpad; the readers zero-extend
// or report io.ErrUnexpectedEOF. It knows nothing of pieces, trees or files.
package fr32
