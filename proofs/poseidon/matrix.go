package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

func newMatrix(rows, cols int) matrix {
	m := make(matrix, rows)
	for i := range m {
		m[i] = make([]fr.Element, cols)
	}
	return m
}

// mulVec is the product with a column vector.
func (m matrix) mulVec(v []fr.Element) []fr.Element {
	out := make([]fr.Element, len(m))
	for i := range m {
		for j := range v {
			var p fr.Element
			p.Mul(&m[i][j], &v[j])
			out[i].Add(&out[i], &p)
		}
	}
	return out
}

func (m matrix) mul(o matrix) matrix {
	out := newMatrix(len(m), len(o[0]))
	for i := range m {
		for j := range o[0] {
			for k := range o {
				var p fr.Element
				p.Mul(&m[i][k], &o[k][j])
				out[i][j].Add(&out[i][j], &p)
			}
		}
	}
	return out
}

// inverse is by Gauss-Jordan elimination. The matrices here are invertible by
// construction; a singular one is a bug and panics.
func (m matrix) inverse() matrix {
	n := len(m)
	a, out := newMatrix(n, n), newMatrix(n, n)
	for i := range m {
		copy(a[i], m[i])
		out[i][i].SetOne()
	}
	for c := range n {
		p := c
		for p < n && a[p][c].IsZero() {
			p++
		}
		if p == n {
			panic("poseidon: singular matrix")
		}
		a[c], a[p] = a[p], a[c]
		out[c], out[p] = out[p], out[c]
		var inv fr.Element
		inv.Inverse(&a[c][c])
		for j := range n {
			a[c][j].Mul(&a[c][j], &inv)
			out[c][j].Mul(&out[c][j], &inv)
		}
		for r := range n {
			if r == c || a[r][c].IsZero() {
				continue
			}
			f := a[r][c]
			for j := range n {
				var x fr.Element
				x.Mul(&f, &a[c][j])
				a[r][j].Sub(&a[r][j], &x)
				x.Mul(&f, &out[c][j])
				out[r][j].Sub(&out[r][j], &x)
			}
		}
	}
	return out
}
