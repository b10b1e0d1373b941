package poseidon

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// lanes is how many hashes HashRow runs side by side: enough for the vector
// unit, few enough that the states stay in the first-level cache.
const lanes = 32

// laneState is the room for one batch of hashes, element-major.
type laneState struct {
	s, spare [maxWidth]fr.Vector
	a, b     fr.Vector
}

var lanePool = sync.Pool{New: func() any {
	l := new(laneState)
	room := make(fr.Vector, (2*maxWidth+2)*lanes)
	next := func() (v fr.Vector) { v, room = room[:lanes:lanes], room[lanes:]; return v }
	for i := range l.s {
		l.s[i], l.spare[i] = next(), next()
	}
	l.a, l.b = next(), next()
	return l
}}

// HashRow hashes each group of Arity elements of src to one element of dst:
// one row of a tree to the row above. len(src) must be len(dst)*Arity,
// otherwise it panics. dst may be the start of src.
func (h *Hasher) HashRow(dst, src []Element) {
	ar := h.Arity()
	if len(src) != len(dst)*ar {
		panic(fmt.Sprintf("poseidon: %d elements do not hash to %d at arity %d", len(src), len(dst), ar))
	}
	if vectorUnit && len(dst) >= 8 {
		l := lanePool.Get().(*laneState)
		for len(dst) >= 8 {
			n := min(lanes, len(dst)&^7)
			h.hashLanes(l, dst[:n], src)
			dst, src = dst[n:], src[n*ar:]
		}
		lanePool.Put(l)
	}
	for i := range dst {
		dst[i] = h.Hash(src[i*ar : (i+1)*ar])
	}
}

func (h *Hasher) hashLanes(l *laneState, dst, src []Element) {
	n, t := len(dst), h.c.width
	s, spare := l.s[:t], l.spare[:t]
	for i := range n {
		s[0][i] = h.tag
		for j := 1; j < t; j++ {
			s[j][i] = src[i*(t-1)+j-1]
		}
	}
	copy(dst, h.c.permuteLanes(l, s, spare, n))
}

// permuteLanes is permute on n states at once.
func (c *constants) permuteLanes(l *laneState, s, spare []fr.Vector, n int) fr.Vector {
	const half = fullRounds / 2
	t, k := c.width, c.compressed
	for j := range s {
		addConst(s[j][:n], &k[j])
	}
	k = k[t:]
	for r := range half {
		l.sboxAll(s, k, n)
		k = k[t:]
		m := c.mds
		if r == half-1 {
			m = c.preSparse
		}
		l.mulRow(spare, s, m, n)
		s, spare = spare, s
	}
	for i := range c.sparse {
		l.sbox(s[0][:n])
		addConst(s[0][:n], &k[i])
		l.mulSparse(s, &c.sparse[i], n)
	}
	k = k[c.partial:]
	for r := range half {
		if r < half-1 {
			l.sboxAll(s, k, n)
			k = k[t:]
		} else {
			l.sboxAll(s, nil, n)
		}
		l.mulRow(spare, s, c.mds, n)
		s, spare = spare, s
	}
	return s[1][:n]
}

func addConst(v fr.Vector, k *fr.Element) {
	for i := range v {
		v[i].Add(&v[i], k)
	}
}

func (l *laneState) sbox(v fr.Vector) {
	y := l.a[:len(v)]
	y.Mul(v, v)
	y.Mul(y, y)
	v.Mul(v, y)
}

func (l *laneState) sboxAll(s []fr.Vector, k []fr.Element, n int) {
	for j := range s {
		l.sbox(s[j][:n])
		if k != nil {
			addConst(s[j][:n], &k[j])
		}
	}
}

func (l *laneState) mulRow(dst, s []fr.Vector, m matrix, n int) {
	p := l.a[:n]
	for j := range dst {
		d := dst[j][:n]
		d.ScalarMul(s[0][:n], &m[0][j])
		for i := 1; i < len(s); i++ {
			p.ScalarMul(s[i][:n], &m[i][j])
			d.Add(d, p)
		}
	}
}

func (l *laneState) mulSparse(s []fr.Vector, m *sparseMatrix, n int) {
	acc, p, s0 := l.b[:n], l.a[:n], s[0][:n]
	acc.ScalarMul(s0, &m.col[0])
	for i := 1; i < len(s); i++ {
		v := s[i][:n]
		p.ScalarMul(v, &m.col[i])
		acc.Add(acc, p)
		p.ScalarMul(s0, &m.row[i-1])
		v.Add(v, p)
	}
	copy(s0, acc)
}

// rSquare and rawOne convert into and out of Montgomery form when multiplied
// with: their limbs are R^2 mod r and 1.
var (
	rSquare = func() (e fr.Element) {
		e.SetBigInt(new(big.Int).Lsh(big.NewInt(1), 256))
		return e
	}()
	rawOne = fr.Element{1}
)

// DecodeRow converts little-endian nodes to elements. len(src) must be
// 32*len(dst). A node that is not below the field order is an error.
func DecodeRow(dst []Element, src []byte) error {
	for i := range dst {
		b := src[i*32 : i*32+32]
		for w := range 4 {
			dst[i][w] = binary.LittleEndian.Uint64(b[w*8:])
		}
		if !belowOrder(&dst[i]) {
			return fmt.Errorf("poseidon: node %d (%x) is not below the field order", i, b)
		}
	}
	v := fr.Vector(dst)
	v.ScalarMul(v, &rSquare)
	return nil
}

// EncodeRow converts elements to little-endian nodes. len(dst) must be
// 32*len(src).
func EncodeRow(dst []byte, src []Element) {
	var room [64]fr.Element
	for len(src) > 0 {
		v := fr.Vector(room[:min(len(src), len(room))])
		v.ScalarMul(fr.Vector(src[:len(v)]), &rawOne)
		for i := range v {
			for w := range 4 {
				binary.LittleEndian.PutUint64(dst[i*32+w*8:], v[i][w])
			}
		}
		dst, src = dst[len(v)*32:], src[len(v):]
	}
}

// Decode is DecodeRow for one node.
func Decode(node *[32]byte) (Element, error) { return fr.LittleEndian.Element(node) }

// Encode is EncodeRow for one element.
func Encode(e Element) (node [32]byte) {
	fr.LittleEndian.PutElement(&node, e)
	return node
}

func belowOrder(e *fr.Element) bool {
	for w := 3; w >= 0; w-- {
		if e[w] != order[w] {
			return e[w] < order[w]
		}
	}
	return false
}
