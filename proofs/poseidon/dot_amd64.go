//go:build amd64 && !purego

package poseidon

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/sys/cpu"
)

// wideMul tells whether the instructions of dotADX are there. Tests clear it.
var wideMul = cpu.X86.HasADX && cpu.X86.HasBMI2

// dot is the sum of a[i]*b[i], reduced once; b is at least as long as a, and a
// has 1 to maxTerms elements.
func dot(dst *fr.Element, a, b []fr.Element) {
	if !wideMul {
		dotGeneric(dst, a, b)
		return
	}
	b = b[:len(a)]
	dotADX(dst, &a[0], &b[0], len(a))
}

//go:noescape
func dotADX(dst, a, b *fr.Element, n int)
