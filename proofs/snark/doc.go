// Package snark is the last step of every proof that goes on a public chain: it
// turns a vanilla proof into the Groth16 proof of the same statement, and checks
// such proofs against public information.
//
//	vanilla proof ──circuit──► constraints and witness ──groth16──► 192 bytes per partition
//	public info   ──circuit──► inputs per partition    ──groth16──► yes or no
//
// Parameters come through Keys, by the names of rust-fil-proofs; the package
// refuses to know where they are kept. Prove functions check the proof they made
// before they return it, because a wrong one costs gas and power. Verify
// functions answer false for whatever is wrong and an error only when they could
// not decide.
package snark
