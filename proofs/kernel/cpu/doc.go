// Package cpu is the first backend of package kernel: the code for the CPU that
// sdr, merkle and groth16 use where they are given nothing else, by the names that
// the seam has for it. It holds no code of its own, starts nothing, and needs no
// configuration. Proofs that want the CPU need not name it: a nil backend is it.
package cpu
