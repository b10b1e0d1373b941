// Command gobench is `make bench`: it names the machine, runs the Go benchmarks of
// the proofs and prints the figures that matter as one table, beside what they are
// meant to be at least. It also times Groth16 proofs of the smallest sectors and,
// when asked, a whole 512 MiB sector, with the worker's own commands.
//
// It only measures: whatever the figures are, the exit code is 0 when everything
// ran.
package main
