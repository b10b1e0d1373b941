package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// maxBatch is how many partial rounds are worked off together. Inside a batch
// only element 0 is computed round by round; the others get the sum of what the
// rounds add to them at its end. Larger batches save reductions and cost
// products; the numbers of all arities in use are flat around four.
const maxBatch = 4

// program is the permutation of one width as dot products, its constants in
// order of use and in the form C of whoever runs it.
//
// The state is kept turned by one: elements 1 … t-1 first, element 0 last, so
// that what the rounds of a batch put into element 0 can be appended and every
// sum is one dot product over a run of elements.
type program[C any] struct {
	width   int
	add     []C   // t before the first round, t or 1 after each S-box layer
	mds     []C   // t rows of t: what each element of the next state is made of
	pre     []C   // the same for the round before the partial ones
	last    []C   // the row of mds that gives the digest
	batches []int // partial rounds per batch
	// partial holds, per batch of n rounds, the rows of element 0 (of t, t+1, …
	// t+n-1 factors: the state, then the results of the batch so far), then for
	// each other element the n factors of the results.
	partial []C
}

// newProgram rearranges c (see program).
func newProgram(c *constants) *program[fr.Element] {
	const half = fullRounds / 2
	t := c.width
	p := &program[fr.Element]{width: t, mds: turned(c.mds), pre: turned(c.preSparse)}
	p.last = p.mds[:t]
	k := c.compressed
	full := func() {
		p.add = append(append(p.add, k[1:t]...), k[0])
		k = k[t:]
	}
	for range half + 1 {
		full()
	}
	p.add = append(p.add, k[:c.partial]...)
	k = k[c.partial:]
	for range half - 1 {
		full()
	}
	for rest := c.sparse; len(rest) > 0; {
		n := min(maxBatch, len(rest))
		p.batches = append(p.batches, n)
		p.partial = append(p.partial, batch(rest[:n])...)
		rest = rest[n:]
	}
	return p
}

// turned lists the factors of each element of s*m, both in the order of a
// program's state.
func turned(m matrix) []fr.Element {
	t, out := len(m), make([]fr.Element, 0, len(m)*len(m))
	for j := range t {
		for i := range t {
			out = append(out, m[(i+1)%t][(j+1)%t])
		}
	}
	return out
}

// batch multiplies out consecutive sparse rounds. With x_i what round i puts
// into element 0, round j sees element k as s_k + sum_{i<j} x_i*row_i[k], so
// x_i enters the next element 0 with the factor <col_j[1:], row_i>.
func batch(rounds []sparseMatrix) (out []fr.Element) {
	for j, m := range rounds {
		out = append(out, m.col[1:]...)
		for i := range j {
			var f, x fr.Element
			for k := range rounds[i].row {
				x.Mul(&m.col[k+1], &rounds[i].row[k])
				f.Add(&f, &x)
			}
			out = append(out, f)
		}
		out = append(out, m.col[0])
	}
	for k := range rounds[0].row {
		for _, m := range rounds {
			out = append(out, m.row[k])
		}
	}
	return out
}

// convert is p with its constants in another form.
func convert[C, D any](p *program[C], f func(*C) D) *program[D] {
	each := func(in []C) []D {
		out := make([]D, len(in))
		for i := range in {
			out[i] = f(&in[i])
		}
		return out
	}
	return &program[D]{
		width:   p.width,
		batches: p.batches,
		add:     each(p.add),
		mds:     each(p.mds),
		pre:     each(p.pre),
		partial: each(p.partial),
		last:    each(p.last),
	}
}
