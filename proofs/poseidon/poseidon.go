package poseidon

import (
	"fmt"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Element is a field element in Montgomery form.
type Element = fr.Element

// maxWidth is the width of the largest arity, 36.
const maxWidth = 37

// Hasher hashes a fixed number of elements to one. It is safe for concurrent
// use.
type Hasher struct {
	c   *constants
	tag fr.Element
}

var derived sync.Map // arity -> func() (*constants, error)

func constantsFor(arity int) (*constants, error) {
	f, _ := derived.LoadOrStore(arity, sync.OnceValues(func() (*constants, error) { return deriveConstants(arity) }))
	return f.(func() (*constants, error))()
}

// New is the hasher of Merkle tree nodes with arity children; its domain tag is
// 2^arity - 1. Arities 2, 4, 8, 11, 16, 24 and 36 exist, others are an error.
func New(arity int) (*Hasher, error) {
	c, err := constantsFor(arity)
	if err != nil {
		return nil, err
	}
	h := &Hasher{c: c}
	h.tag.SetUint64(1<<arity - 1)
	return h, nil
}

// NewCustom is the hasher of neptune's HashType::Custom(id), id 1 to 256, with
// domain tag id*2^40. SnapDeals uses Custom(1) of arity 2.
func NewCustom(arity, id int) (*Hasher, error) {
	if id < 1 || id > 256 {
		return nil, fmt.Errorf("poseidon: custom id %d is not in 1 to 256", id)
	}
	h, err := New(arity)
	if err != nil {
		return nil, err
	}
	h.tag.SetUint64(uint64(id) << 40)
	return h, nil
}

// MustNew is New for arities known to exist; it panics on others.
func MustNew(arity int) *Hasher {
	h, err := New(arity)
	if err != nil {
		panic(err)
	}
	return h
}

// Arity is the number of elements hashed at once.
func (h *Hasher) Arity() int { return h.c.width - 1 }

// Hash is the digest of exactly Arity elements; another number panics.
func (h *Hasher) Hash(in []Element) Element {
	if len(in) != h.Arity() {
		panic(fmt.Sprintf("poseidon: %d elements given to arity %d", len(in), h.Arity()))
	}
	var a, b [maxWidth]fr.Element
	s, spare := a[:h.c.width], b[:h.c.width]
	s[0] = h.tag
	copy(s[1:], in)
	return h.c.permute(s, spare)
}

// permute runs the permutation on s, using spare as room, and returns element 1
// of the result.
func (c *constants) permute(s, spare []fr.Element) fr.Element {
	const half = fullRounds / 2
	t, k := c.width, c.compressed
	addAll(s, k)
	k = k[t:]
	for r := range half {
		sboxAll(s)
		addAll(s, k)
		k = k[t:]
		m := c.mds
		if r == half-1 {
			m = c.preSparse
		}
		mulRow(spare, s, m)
		s, spare = spare, s
	}
	for i := range c.sparse {
		sbox(&s[0])
		s[0].Add(&s[0], &k[i])
		mulSparse(s, &c.sparse[i])
	}
	k = k[c.partial:]
	for r := range half {
		sboxAll(s)
		if r < half-1 {
			addAll(s, k)
			k = k[t:]
		}
		mulRow(spare, s, c.mds)
		s, spare = spare, s
	}
	return s[1]
}

func sbox(x *fr.Element) {
	var y fr.Element
	y.Square(x)
	y.Square(&y)
	x.Mul(x, &y)
}

func sboxAll(s []fr.Element) {
	for i := range s {
		sbox(&s[i])
	}
}

func addAll(s, k []fr.Element) {
	for i := range s {
		s[i].Add(&s[i], &k[i])
	}
}

// mulRow is dst = s * m, s being a row vector.
func mulRow(dst, s []fr.Element, m matrix) {
	var p fr.Element
	for j := range dst {
		var acc fr.Element
		for i := range s {
			p.Mul(&s[i], &m[i][j])
			acc.Add(&acc, &p)
		}
		dst[j] = acc
	}
}

func mulSparse(s []fr.Element, m *sparseMatrix) {
	var acc, p fr.Element
	s0 := s[0]
	acc.Mul(&s0, &m.col[0])
	for i := 1; i < len(s); i++ {
		p.Mul(&s[i], &m.col[i])
		acc.Add(&acc, &p)
		p.Mul(&s0, &m.row[i-1])
		s[i].Add(&s[i], &p)
	}
	s[0] = acc
}
