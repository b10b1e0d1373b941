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
	c   *tables
	tag fr.Element
}

var derived sync.Map // arity -> func() (*tables, error)

// tables is what hashing one arity needs.
type tables struct {
	*constants
	scalar *program[fr.Element]
	lanes  *laneTables // nil where hashing in lanes is not possible
}

func tablesFor(arity int) (*tables, error) {
	f, _ := derived.LoadOrStore(arity, sync.OnceValues(func() (*tables, error) {
		c, err := deriveConstants(arity)
		if err != nil {
			return nil, err
		}
		p := newProgram(c)
		return &tables{constants: c, scalar: p, lanes: newLaneTables(p)}, nil
	}))
	return f.(func() (*tables, error))()
}

// New is the hasher of Merkle tree nodes with arity children; its domain tag is
// 2^arity - 1. Arities 2, 4, 8, 11, 16, 24 and 36 exist, others are an error.
func New(arity int) (*Hasher, error) {
	c, err := tablesFor(arity)
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
	var v, w [room]fr.Element
	copy(v[:], in)
	v[len(in)] = h.tag
	return permute(h.c.scalar, v[:], w[:])
}
