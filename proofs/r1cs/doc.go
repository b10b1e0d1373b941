// Package r1cs is the language in which Filecoin's circuits are written: rank-1
// constraints over the BLS12-381 scalar field, A·B = C with A, B and C linear
// combinations of variables.
//
// A circuit is a function that walks once through its variables and constraints
// and tells a ConstraintSystem of each. The same walk makes a witness, counts, is
// digested for comparison with bellperson, or feeds parameter generation; nothing
// keeps the matrices. The order of allocation and of constraints is part of what
// a circuit is: parameters made by others fit only when it is equal.
//
// Summarize condenses a circuit to digests that can be compared with those of
// another implementation; Satisfied checks a witness, constraint by constraint.
//
// The package refuses to know any proof: gadgets and circuits are above it, keys
// and proofs beside it.
package r1cs
