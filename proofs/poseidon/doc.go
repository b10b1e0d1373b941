// Package poseidon is Filecoin's Poseidon hash over the BLS12-381 scalar field:
// strength "standard", S-box x^5, eight full rounds, in the arities the storage
// proofs use. Constants are derived when first needed (Grain LFSR, Cauchy
// matrix) and agree with lurk-lab/neptune element by element.
//
// Elements are gnark-crypto fr.Elements in Montgomery form; convert a row once
// with DecodeRow and stay in that form. Hash one group with Hash, more of them
// with HashRow.
//
// # Speed
//
// The rounds are dot products (see program): sums of unreduced products, reduced
// once. There are three ways to work them out, chosen at run time, and none
// changes a result:
//
//   - sixteen hashes side by side with AVX-512 and its 52-bit multiplications,
//     for rows of three and more and widths up to twelve;
//   - one hash with the carry chains of ADX;
//   - one hash in plain Go, on other CPUs and under the build tag purego.
//
// AVX2 has no way of its own: it multiplies 32 bits at a time in four lanes,
// which promises little over ADX.
//
// The package hashes fixed-length inputs. It offers no sponge and no encryption.
package poseidon
