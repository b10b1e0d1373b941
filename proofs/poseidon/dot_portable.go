//go:build !amd64 || purego

package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// wideMul is false where dot has one form only.
var wideMul bool

// dot is the sum of a[i]*b[i], reduced once; b is at least as long as a, and a
// has 1 to maxTerms elements.
func dot(dst *fr.Element, a, b []fr.Element) { dotGeneric(dst, a, b) }
