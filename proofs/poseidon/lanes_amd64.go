//go:build amd64 && !purego

package poseidon

import (
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/sys/cpu"
)

// wideLanes tells whether the CPU multiplies eight lanes at once. Tests clear
// it.
var wideLanes = cpu.X86.HasAVX512F && cpu.X86.HasAVX512IFMA

const (
	lanes        = 16 // hashes side by side: two registers of eight
	minLanes     = 3  // fewer are faster one by one
	maxLaneWidth = 12
)

// wide is one number per lane: for each half of the lanes five limbs of eight.
type wide [lanes * 5]uint64

// wideConst is one number for all lanes.
type wideConst [5]uint64

//go:noescape
func dotLanes(dst, plus, src *wide, k *wideConst, n, halves int)

//go:noescape
func fifthLanes(x *wide, k *wideConst, n int)

// laneTables are the constants of a program in the form x*2^260 mod r. nil
// stands for a width that is not hashed in lanes.
type laneTables = program[wideConst]

func newLaneTables(p *program[fr.Element]) *laneTables {
	if p.width > maxLaneWidth || !lanesFit(p.width, p.batches) {
		return nil
	}
	var sixteen fr.Element
	sixteen.SetUint64(16)
	q := convert(p, func(e *fr.Element) wideConst {
		var x fr.Element // e is in the form x*2^256
		x.Mul(e, &sixteen)
		return splitRaw(&x)
	})
	// The digest goes back to the form x*2^256.
	for i := range q.last {
		q.last[i] = splitRaw(&p.last[i])
	}
	// The last S-boxes have no constants.
	q.add = append(q.add, make([]wideConst, p.width)...)
	return q
}

// laneState is the room for one permutation of all lanes.
type laneState struct{ v, w [maxLaneWidth + maxBatch]wide }

var lanePool = sync.Pool{New: func() any { return new(laneState) }}

// hashLanes is HashRow for as much of the row as is worth it. It returns how
// many digests it made.
func (h *Hasher) hashLanes(dst, src []Element) int {
	if !wideLanes || h.c.lanes == nil || len(dst) < minLanes {
		return 0
	}
	l, ar, done := lanePool.Get().(*laneState), h.Arity(), 0
	defer lanePool.Put(l)
	for len(dst)-done >= minLanes {
		n := min(lanes, len(dst)-done)
		l.load(src[done*ar:(done+n)*ar], ar, h.tag, h.c.scalar.add)
		out := l.permute(h.c.lanes, (n+lanes/2-1)/(lanes/2))
		for i := range n {
			o := (*[40]uint64)(out[i/8*40:])
			j := i % 8
			join(&dst[done+i], o[j], o[8+j], o[16+j], o[24+j], o[32+j])
		}
		done += n
	}
	return done
}

// load puts states into the lanes, the first constants added. Lanes without a
// state keep what they had.
func (l *laneState) load(src []Element, ar int, tag fr.Element, add []fr.Element) {
	put := func(x *wide, i int, limbs [5]uint64) {
		o := (*[40]uint64)(x[i/8*40:])
		for k, v := range limbs {
			o[k*8+i%8] = v
		}
	}
	tag.Add(&tag, &add[ar])
	first := split(&tag)
	for i := range len(src) / ar {
		for j := range ar {
			var e fr.Element
			e.Add(&src[i*ar+j], &add[j])
			put(&l.v[j], i, split(&e))
		}
		put(&l.v[ar], i, first)
	}
}

// permute is the scalar permutation, all lanes at once, or those of the first
// half.
func (l *laneState) permute(p *laneTables, halves int) *wide {
	const half = fullRounds / 2
	t, k := p.width, p.add[p.width:]
	v, w := &l.v, &l.w
	full := func(m []wideConst) {
		fifthLanes(&v[0], &k[0], t)
		for j := range t {
			dotLanes(&w[j], nil, &v[0], &m[j*t], t, halves)
		}
		k, v, w = k[t:], w, v
	}
	for range half - 1 {
		full(p.mds)
	}
	full(p.pre)
	last, m := t-1, p.partial
	for _, n := range p.batches {
		for i := range n {
			fifthLanes(&v[last+i], &k[i], 1)
			dotLanes(&v[last+i+1], nil, &v[0], &m[0], last+i+1, halves)
			m = m[last+i+1:]
		}
		for i := range last {
			dotLanes(&v[i], &v[i], &v[last], &m[i*n], n, halves)
		}
		v[last] = v[last+n]
		m, k = m[last*n:], k[n:]
	}
	for range half - 1 {
		full(p.mds)
	}
	fifthLanes(&v[0], &k[0], t)
	dotLanes(&w[0], nil, &v[0], &p.last[0], t, halves)
	return &w[0]
}
