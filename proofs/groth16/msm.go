package groth16

import (
	"context"
	"fmt"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/kernel"
)

// blockPoints is how many points of a file are looked at together.
const blockPoints = 1 << 16

// chunkG1 and chunkG2 are how many points with scalars other than 0 and 1 are
// multiplied together, unless the kernel wants another number. More make fewer
// additions per point, and more memory.
const (
	chunkG1 = 1 << 19
	chunkG2 = 1 << 18
)

// query is a part of a multiplication: the values of variables, and which of
// them have a point in the section (nil: all).
type query struct {
	scalars []fr.Element
	only    density
}

// msm sums scalar times point over the points of a section, in order of the
// queries' variables. Zeros cost nothing, ones an addition: most values of a
// witness are bits. tick is told how many points are done.
type msm[A, J any] struct {
	group[A, J]
	on      kernel.Points
	params  *Params
	sec     section
	block   int // points of the file that are looked at together
	chunk   int // points that are multiplied together
	workers func() int
	tick    func(done int)

	buf     []byte       // of a block
	at      []int        // points of the block whose scalar is neither 0 nor 1
	ones    []int        // points of the block whose scalar is 1
	points  []A          // of the chunk
	scalars []fr.Element // of the chunk
	waiting int          // points seen since the last flush
	acc     J
}

func (m *msm[A, J]) run(ctx context.Context, queries ...query) (*J, error) {
	if m.params.mem == nil {
		m.buf = make([]byte, min(m.block, m.sec.count)*m.sec.size)
	}
	next, from := 0, 0 // point, first point of the block
	m.points, m.scalars = m.points[:0], m.scalars[:0]
	for _, q := range queries {
		for v := range q.scalars {
			if q.only != nil && !q.only.has(v) {
				continue
			}
			s := &q.scalars[v]
			switch {
			case s.IsZero():
			case s.IsOne():
				m.ones = append(m.ones, next-from)
			default:
				m.at = append(m.at, next-from)
				m.scalars = append(m.scalars, *s)
			}
			if next++; next-from == m.block {
				if err := m.take(ctx, from, next); err != nil {
					return nil, err
				}
				from = next
			}
		}
	}
	if next != m.sec.count {
		return nil, fmt.Errorf("groth16: section %s of parameters has %d points, the circuit needs %d", m.sec.name, m.sec.count, next)
	}
	if err := m.take(ctx, from, next); err != nil {
		return nil, err
	}
	return &m.acc, m.flush(ctx)
}

// take reads points [from, to), adds those with scalar 1 and gathers the others.
func (m *msm[A, J]) take(ctx context.Context, from, to int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if to > m.sec.count {
		return fmt.Errorf("groth16: section %s of parameters has %d points, the circuit needs more", m.sec.name, m.sec.count)
	}
	if len(m.at)+len(m.ones) > 0 {
		raw, err := m.params.raw(m.sec, from, to-from, m.buf)
		if err != nil {
			return err
		}
		ones, err := m.decodeAll(raw, m.ones, nil)
		if err != nil {
			return err
		}
		m.addAll(ones)
		if m.points, err = m.decodeAll(raw, m.at, m.points); err != nil {
			return err
		}
	}
	m.at, m.ones = m.at[:0], m.ones[:0]
	if m.waiting += to - from; len(m.points) == 0 || len(m.points)+m.block > m.chunk {
		return m.flush(ctx)
	}
	return nil
}

// decodeAll appends the points of raw with the given numbers to out.
func (m *msm[A, J]) decodeAll(raw []byte, which []int, out []A) ([]A, error) {
	old := len(out)
	out = append(out, make([]A, len(which))...)
	var mu sync.Mutex
	var bad error
	parallel(len(which), m.workers(), func(from, to int) {
		for i := from; i < to; i++ {
			if err := m.decode(&out[old+i], raw[which[i]*m.sec.size:][:m.sec.size]); err != nil {
				mu.Lock()
				bad = fmt.Errorf("groth16: a point of section %s of parameters: %w: fetch or generate the file again", m.sec.name, err)
				mu.Unlock()
				return
			}
		}
	})
	return out, bad
}

func (m *msm[A, J]) addAll(points []A) {
	var mu sync.Mutex
	parallel(len(points), m.workers(), func(from, to int) {
		var part J
		m.sum(&part, points[from:to])
		mu.Lock()
		defer mu.Unlock()
		m.add(&m.acc, &part)
	})
}

// flush multiplies what was gathered.
func (m *msm[A, J]) flush(ctx context.Context) error {
	if len(m.points) > 0 {
		part, err := m.multi(ctx, m.on, m.points, m.scalars, m.workers())
		if err != nil {
			return fmt.Errorf("groth16: multiplying %d points of section %s: %w", len(m.points), m.sec.name, err)
		}
		m.add(&m.acc, &part)
	}
	m.points, m.scalars = m.points[:0], m.scalars[:0]
	m.tick(m.waiting)
	m.waiting = 0
	return nil
}

func (p *prover) g1(ctx context.Context, s section, queries ...query) (*bls.G1Jac, error) {
	m := msm[bls.G1Affine, bls.G1Jac]{
		group:   inG1,
		on:      p.on,
		params:  p.params,
		sec:     s,
		block:   p.block,
		chunk:   p.chunk1,
		workers: p.workers,
		tick:    p.points,
	}
	m.points, m.scalars = p.points1, p.scalars
	defer func() { p.points1, p.scalars = m.points, m.scalars }()
	return m.run(ctx, queries...)
}

func (p *prover) g2(ctx context.Context, s section, queries ...query) (*bls.G2Jac, error) {
	m := msm[bls.G2Affine, bls.G2Jac]{
		group:   inG2,
		on:      p.on,
		params:  p.params,
		sec:     s,
		block:   p.block,
		chunk:   p.chunk2,
		workers: p.workers,
		tick:    p.points,
	}
	return m.run(ctx, queries...)
}
