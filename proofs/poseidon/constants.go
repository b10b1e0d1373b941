package poseidon

import (
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// fullRounds is RF of every arity.
const fullRounds = 8

// partialRounds is RP by arity (neptune src/round_numbers.rs, strength
// Standard).
var partialRounds = map[int]int{2: 55, 4: 56, 8: 57, 11: 57, 16: 59, 24: 59, 36: 60}

type matrix [][]fr.Element

// constants is everything the permutation of one width needs, in the optimized
// form of neptune src/preprocessing.rs and src/mds.rs.
type constants struct {
	width, partial int
	round          []fr.Element // plain round constants, (RF+RP)*t
	compressed     []fr.Element // in order of use, RF*t+RP
	mds, preSparse matrix
	sparse         []sparseMatrix
}

// sparseMatrix multiplies as s'_0 = sum col[k]*s_k, s'_k = s_k + s_0*row[k-1].
type sparseMatrix struct {
	col []fr.Element // t values
	row []fr.Element // t-1 values
}

func deriveConstants(arity int) (*constants, error) {
	rp, ok := partialRounds[arity]
	if !ok {
		return nil, fmt.Errorf("poseidon: no parameters for arity %d", arity)
	}
	t := arity + 1
	c := &constants{width: t, partial: rp}
	c.round = grainConstants(t, rp)
	c.mds = cauchy(t)
	c.compress()
	c.factor()
	return c, nil
}

// grain is the LFSR that the round constants are drawn from.
type grain struct{ s [80]byte }

func newGrain(t, rp int) *grain {
	g, i := new(grain), 0
	put := func(v, n int) {
		for b := n - 1; b >= 0; b-- {
			g.s[i] = byte(v >> b & 1)
			i++
		}
	}
	put(1, 2) // prime field
	put(1, 4) // S-box x^5
	put(fr.Bits, 12)
	put(t, 12)
	put(fullRounds, 10)
	put(rp, 10)
	put(1<<30-1, 30)
	for range 160 {
		g.step()
	}
	return g
}

func (g *grain) step() byte {
	b := g.s[62] ^ g.s[51] ^ g.s[38] ^ g.s[23] ^ g.s[13] ^ g.s[0]
	copy(g.s[:], g.s[1:])
	g.s[79] = b
	return b
}

// bit draws the next output bit: a leading 1 lets the bit after it through, a
// leading 0 drops it.
func (g *grain) bit() byte {
	for g.step() == 0 {
		g.step()
	}
	return g.step()
}

func grainConstants(t, rp int) []fr.Element {
	g, out, q := newGrain(t, rp), make([]fr.Element, 0, (fullRounds+rp)*t), fr.Modulus()
	for len(out) < cap(out) {
		v := new(big.Int)
		for range fr.Bits {
			v.Lsh(v, 1)
			v.SetBit(v, 0, uint(g.bit()))
		}
		if v.Cmp(q) < 0 {
			var e fr.Element
			out = append(out, *e.SetBigInt(v))
		}
	}
	return out
}

// cauchy is the MDS matrix 1/(i + t + j).
func cauchy(t int) matrix {
	m := newMatrix(t, t)
	for i := range m {
		for j := range m[i] {
			m[i][j].SetUint64(uint64(i + t + j))
			m[i][j].Inverse(&m[i][j])
		}
	}
	return m
}

// compress moves the round constants through the matrices, so that a partial
// round adds a single one.
func (c *constants) compress() {
	t, inv := c.width, c.mds.inverse()
	row := func(k int) []fr.Element { return c.round[k*t : (k+1)*t] }
	const half = fullRounds / 2
	last := half + c.partial
	out := append([]fr.Element(nil), row(0)...)
	for k := 1; k < half; k++ {
		out = append(out, inv.mulVec(row(k))...)
	}
	acc, partial := append([]fr.Element(nil), row(last)...), make([]fr.Element, c.partial)
	for j := range c.partial {
		v := inv.mulVec(acc)
		partial[j] = v[0]
		v[0].SetZero()
		for i, e := range row(last - 1 - j) {
			acc[i].Add(&v[i], &e)
		}
	}
	out = append(out, inv.mulVec(acc)...)
	for j := c.partial - 1; j >= 0; j-- {
		out = append(out, partial[j])
	}
	for k := 1; k < half; k++ {
		out = append(out, inv.mulVec(row(last+k))...)
	}
	c.compressed = out
}

// factor splits the matrices of the partial rounds into one pre-sparse and RP
// sparse ones.
func (c *constants) factor() {
	t := c.width
	c.sparse = make([]sparseMatrix, c.partial)
	a := c.mds
	for j := range c.partial {
		hat, w := newMatrix(t-1, t-1), make([]fr.Element, t-1)
		for i := 1; i < t; i++ {
			copy(hat[i-1], a[i][1:])
			w[i-1] = a[i][0]
		}
		col := append([]fr.Element{a[0][0]}, hat.inverse().mulVec(w)...)
		c.sparse[c.partial-1-j] = sparseMatrix{col: col, row: append([]fr.Element(nil), a[0][1:]...)}
		prime := newMatrix(t, t)
		prime[0][0].SetOne()
		for i := 1; i < t; i++ {
			copy(prime[i][1:], hat[i-1])
		}
		a = c.mds.mul(prime)
	}
	c.preSparse = a
}
