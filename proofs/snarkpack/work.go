package snarkpack

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// pool runs independent pieces of work on a bounded number of goroutines.
type pool struct {
	ctx     context.Context
	workers int
}

// maxWorkers is what gnark-crypto's multi-exponentiation takes at most.
const maxWorkers = 1024

// newPool takes the number of goroutines; below 1 means one per processor.
func newPool(ctx context.Context, workers int) pool {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	return pool{ctx, min(workers, maxWorkers)}
}

// each calls f(0) … f(n−1), starts none after the context ended or a call failed,
// and returns when all calls have; the error is the first one seen.
func (p pool) each(n int, f func(i int) error) error {
	var next atomic.Int64
	var once sync.Once
	var first error
	stop := func(err error) {
		once.Do(func() { first = err })
		next.Store(int64(n))
	}
	var wg sync.WaitGroup
	for range min(p.workers, n) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := p.ctx.Err(); err != nil {
					stop(err)
					return
				}
				if err := f(i); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}

// ranges calls f with consecutive ranges [lo,hi) of at most size that cover n.
func (p pool) ranges(n, size int, f func(lo, hi int) error) error {
	return p.each((n+size-1)/size, func(i int) error {
		return f(i*size, min(n, (i+1)*size))
	})
}

// product is a product of pairings: each P_i of a part with the Q_i of the part.
type product []part

type part struct {
	p []bls.G1Affine
	q []bls.G2Affine
}

// millerChunk is how many pairs share the squarings of one Miller loop: enough
// that the squarings do not matter, few enough that the work spreads evenly.
const millerChunk = 32

// pairings computes several products of pairings at once, so that small products
// keep all processors busy too.
func (p pool) pairings(products ...product) ([]bls.GT, error) {
	type chunk struct {
		of int
		part
	}
	var chunks []chunk
	for i, prod := range products {
		for _, s := range prod {
			for lo := 0; lo < len(s.p); lo += millerChunk {
				hi := min(len(s.p), lo+millerChunk)
				chunks = append(chunks, chunk{i, part{s.p[lo:hi], s.q[lo:hi]}})
			}
		}
	}
	loops := make([]bls.GT, len(chunks))
	err := p.each(len(chunks), func(i int) (err error) {
		loops[i], err = bls.MillerLoop(chunks[i].p, chunks[i].q)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]bls.GT, len(products))
	for i := range out {
		out[i].SetOne()
	}
	for i := range chunks {
		out[chunks[i].of].Mul(&out[chunks[i].of], &loops[i])
	}
	return out, p.each(len(out), func(i int) error {
		out[i] = bls.FinalExponentiation(&out[i])
		return nil
	})
}
