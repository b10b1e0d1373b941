// Package poseidon is Filecoin's Poseidon hash over the BLS12-381 scalar field:
// strength "standard", S-box x^5, eight full rounds, in the arities the storage
// proofs use. Constants are derived when first needed (Grain LFSR, Cauchy
// matrix) and agree with lurk-lab/neptune element by element.
//
// Elements are gnark-crypto fr.Elements in Montgomery form; convert a row once
// with DecodeRow and stay in that form. HashRow hashes whole tree rows and uses
// vector instructions where the CPU has them; its results never depend on that.
//
// The package hashes fixed-length inputs. It offers no sponge and no encryption.
package poseidon
