// Package kerneltest is the conformance suite of kernels: what a backend must do
// before anything else may be computed with it.
//
// Results are compared with golden vectors, made by rust-fil-proofs, by neptune,
// and by whole numbers in another language, and with slow references written here
// over crypto/sha256 and math/big, which share no code with any backend. Beside
// these come the edges (one element, none, lengths that fill no vector register,
// zeros, ones, points at infinity and their negatives, more than one chunk), the
// rules of package kernel (refusing, ending, leaving the caller's memory alone),
// and many calls at once.
//
// It is for tests only. It measures no speed.
package kerneltest
