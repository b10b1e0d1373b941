// Package groth16 proves and verifies rank-1 constraint systems over BLS12-381
// with the argument of Groth (2016), byte for byte as bellperson does: the same
// parameter, verifying-key and proof encodings, the same evaluation domain, the
// same order of variables.
//
// It reads parameters through small interfaces and refuses to open files, to know
// Filecoin's circuits, or to choose where parameters are kept.
package groth16
