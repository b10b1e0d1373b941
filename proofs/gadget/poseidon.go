package gadget

import (
	"fmt"
	"sync"

	"quarry/proofs/poseidon"
	"quarry/proofs/r1cs"
)

// plan is what is the same in every circuit of one Poseidon hash: the keys, and
// the combination that goes into each S-box in terms of the results of the
// S-boxes before it.
type plan struct {
	s       poseidon.Schedule
	negKeys []r1cs.Element
	// inputs[i] goes into S-box number i+arity, in order: the first arity S-boxes
	// are on the preimage itself. The last one is the digest. Aux variable i in
	// it stands for the result of S-box i.
	inputs []r1cs.LC
}

// form is a combination of S-box results, as coefficients by their number, plus
// a constant.
type form struct {
	one r1cs.Element
	c   []r1cs.Element
}

func unit(i int) form {
	f := form{c: make([]r1cs.Element, i+1)}
	f.c[i].SetOne()
	return f
}

// addScaled adds k times g to f.
func (f *form) addScaled(g *form, k *r1cs.Element) {
	var p r1cs.Element
	p.Mul(&g.one, k)
	f.one.Add(&f.one, &p)
	for len(f.c) < len(g.c) {
		f.c = append(f.c, r1cs.Element{})
	}
	for i := range g.c {
		p.Mul(&g.c[i], k)
		f.c[i].Add(&f.c[i], &p)
	}
}

func (f *form) lc() r1cs.LC {
	var out r1cs.LC
	if !f.one.IsZero() {
		out = append(out, r1cs.Term{V: r1cs.One, C: f.one})
	}
	for i := range f.c {
		if !f.c[i].IsZero() {
			out = append(out, r1cs.Term{V: r1cs.Aux(i), C: f.c[i]})
		}
	}
	return out
}

func mulForms(s []form, m [][]r1cs.Element) []form {
	out := make([]form, len(s))
	for j := range out {
		for i := range s {
			out[j].addScaled(&s[i], &m[i][j])
		}
	}
	return out
}

func mulSparseForms(s []form, m *poseidon.Sparse) {
	s0 := s[0]
	var first form
	for i := range s {
		first.addScaled(&s[i], &m.Col[i])
	}
	for i := 1; i < len(s); i++ {
		s[i].addScaled(&s0, &m.Row[i-1])
	}
	s[0] = first
}

// newPlan follows the permutation with forms in place of numbers.
func newPlan(h *poseidon.Hasher) *plan {
	p := &plan{s: h.Schedule()}
	p.negKeys = make([]r1cs.Element, len(p.s.Keys))
	for i := range p.negKeys {
		p.negKeys[i].Neg(&p.s.Keys[i])
	}
	t, boxes := p.s.Width, 0
	box := func() form { boxes++; return unit(boxes - 1) }
	materialize := func(f *form) form { p.inputs = append(p.inputs, f.lc()); return box() }
	s := make([]form, t)
	s[0].one = firstElement(&p.s)
	for i := 1; i < t; i++ {
		s[i] = box()
	}
	s = mulForms(s, p.s.MDS)
	half := p.s.Full / 2
	full := func(m [][]r1cs.Element) {
		for i := range s {
			s[i] = materialize(&s[i])
		}
		s = mulForms(s, m)
	}
	for r := 1; r < half; r++ {
		if r == half-1 {
			full(p.s.PreSparse)
		} else {
			full(p.s.MDS)
		}
	}
	for i := range p.s.Sparse {
		s[0] = materialize(&s[0])
		mulSparseForms(s, &p.s.Sparse[i])
	}
	for range half {
		full(p.s.MDS)
	}
	p.inputs = append(p.inputs, s[1].lc())
	return p
}

// firstElement is element 0 after the first S-box, a constant.
func firstElement(s *poseidon.Schedule) r1cs.Element {
	var e r1cs.Element
	e.Add(&s.Tag, &s.Keys[0])
	fifth(&e)
	return *e.Add(&e, &s.Keys[s.Width])
}

func fifth(e *r1cs.Element) {
	var q r1cs.Element
	q.Square(e)
	q.Square(&q)
	e.Mul(e, &q)
}

var (
	treePlans sync.Map // arity -> func() *plan
	pairPlan  = sync.OnceValue(func() *plan {
		h, err := poseidon.NewCustom(2, 1)
		if err != nil {
			panic("gadget: arity 2 exists: " + err.Error())
		}
		return newPlan(h)
	})
)

// Poseidon is the hash of a tree node over its children (neptune src/circuit.rs,
// poseidon_hash). Numbers of children without parameters panic.
func (b *Builder) Poseidon(in ...Num) Num {
	f, ok := treePlans.Load(len(in))
	if !ok {
		n := len(in)
		f, _ = treePlans.LoadOrStore(n, sync.OnceValue(func() *plan { return newPlan(poseidon.MustNew(n)) }))
	}
	return b.poseidon(f.(func() *plan)(), in)
}

// PoseidonPair is the hash of two that SnapDeals draws numbers with, neptune's
// HashType::Custom(1).
func (b *Builder) PoseidonPair(x, y Num) Num { return b.poseidon(pairPlan(), []Num{x, y}) }

// poseidon computes the permutation and tells of its S-boxes on the way.
func (b *Builder) poseidon(p *plan, in []Num) Num {
	t := p.s.Width
	if len(in) != t-1 {
		panic(fmt.Sprintf("gadget: %d elements given to a Poseidon of %d", len(in), t-1))
	}
	w := walk{b: b, p: p, keys: t}
	if cap(b.state) < t {
		b.state, b.row = make([]r1cs.Element, t), make([]r1cs.Element, t)
	}
	s, spare := b.state[:t], b.row[:t]
	b.boxes = b.boxes[:0]
	s[0] = firstElement(&p.s)
	w.keys++
	for i := range in {
		s[i+1] = w.first(in[i], i+1)
	}
	mulRow(spare, s, p.s.MDS)
	s, spare = spare, s
	half := p.s.Full / 2
	for r := 1; r < half; r++ {
		m := p.s.MDS
		if r == half-1 {
			m = p.s.PreSparse
		}
		for i := range s {
			w.box(&s[i], true)
		}
		mulRow(spare, s, m)
		s, spare = spare, s
	}
	for i := range p.s.Sparse {
		w.box(&s[0], true)
		mulSparse(s, &p.s.Sparse[i])
	}
	for r := range half {
		for i := range s {
			w.box(&s[i], r < half-1)
		}
		mulRow(spare, s, p.s.MDS)
		s, spare = spare, s
	}
	return Num{Var: w.materialize(&s[1]), Value: s[1]}
}

// walk is the progress through one hash.
type walk struct {
	b    *Builder
	p    *plan
	keys int // keys used
	next int // inputs used
}

// first is the S-box on preimage element in, which key number pre is added to
// beforehand.
func (w *walk) first(in Num, pre int) r1cs.Element {
	b, x := w.b, in.Value
	x.Add(&x, &w.p.s.Keys[pre])
	b.a = append(b.a[:0], term(in.Var), r1cs.Term{V: r1cs.One, C: w.p.s.Keys[pre]})
	w.fifth(b.a, &x, true)
	return x
}

// box is the S-box on the next materialized combination, whose value is x, with
// a key added afterwards or not. x becomes the result.
func (w *walk) box(x *r1cs.Element, key bool) {
	v := w.materialize(x)
	w.b.a = append(w.b.a[:0], term(v))
	w.fifth(w.b.a, x, key)
}

// materialize allocates the next combination, whose value is x.
func (w *walk) materialize(x *r1cs.Element) r1cs.Variable {
	b := w.b
	v := b.cs.Aux(*x)
	b.a = b.a[:0]
	for _, t := range w.p.inputs[w.next] {
		if t.V != r1cs.One {
			t.V = b.boxes[t.V.Index()]
		}
		b.a = append(b.a, t)
	}
	w.next++
	b.c = append(b.c[:0], term(v))
	b.cs.Enforce(b.a, b.one[:], b.c)
	return v
}

// fifth tells of base * base = l2, l2 * l2 = l4, base * l4 = r - key and sets x
// to r.
func (w *walk) fifth(base r1cs.LC, x *r1cs.Element, key bool) {
	b := w.b
	var sq r1cs.Element
	sq.Square(x)
	l2 := b.cs.Aux(sq)
	b.c = append(b.c[:0], term(l2))
	b.cs.Enforce(base, base, b.c)
	sq.Square(&sq)
	l4 := b.cs.Aux(sq)
	b.b = append(b.b[:0], term(l2))
	b.c[0].V = l4
	b.cs.Enforce(b.b, b.b, b.c)
	x.Mul(x, &sq)
	b.c = b.c[:0]
	if key {
		x.Add(x, &w.p.s.Keys[w.keys])
		b.c = append(b.c, r1cs.Term{V: r1cs.One, C: w.p.negKeys[w.keys]})
		w.keys++
	}
	r := b.cs.Aux(*x)
	b.b[0].V = l4
	b.c = append(b.c, term(r))
	b.cs.Enforce(base, b.b, b.c)
	b.boxes = append(b.boxes, r)
}

func mulRow(dst, s []r1cs.Element, m [][]r1cs.Element) {
	var p r1cs.Element
	for j := range dst {
		var acc r1cs.Element
		for i := range s {
			p.Mul(&s[i], &m[i][j])
			acc.Add(&acc, &p)
		}
		dst[j] = acc
	}
}

func mulSparse(s []r1cs.Element, m *poseidon.Sparse) {
	var acc, p r1cs.Element
	s0 := s[0]
	for i := range s {
		p.Mul(&s[i], &m.Col[i])
		acc.Add(&acc, &p)
	}
	for i := 1; i < len(s); i++ {
		p.Mul(&s0, &m.Row[i-1])
		s[i].Add(&s[i], &p)
	}
	s[0] = acc
}
