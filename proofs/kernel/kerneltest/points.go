package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/kernel"
)

type pointSuite struct {
	k kernel.Points
	Options
}

func (s pointSuite) cases() []Case {
	all := []Case{{"points/chunks", s.chunks}}
	all = append(all, groupOf(s, "G1", generator1, (*spot).g1, fromG1, s.k.SumG1).cases()...)
	return append(all, groupOf(s, "G2", generator2, (*spot).g2, fromG2, s.k.SumG2).cases()...)
}

func (s pointSuite) chunks(context.Context) error {
	a1, a2 := s.k.Chunks()
	b1, b2 := s.k.Chunks()
	if a1 != b1 || a2 != b2 || min(a1, a2) < 0 || a1 > kernel.MaxChunkG1 || a2 > kernel.MaxChunkG2 {
		return fmt.Errorf("chunks of %d and %d points, and then of %d and %d", a1, a2, b1, b2)
	}
	return nil
}

// group tests the sums of one group. A are its points, J their sums.
type group[A comparable, J any] struct {
	Options
	name      string
	generator *spot
	from      func(*spot) A
	to        func(*J) (*spot, error)
	sum       func(context.Context, []A, []fr.Element, int) (J, error)
	known     func() (logs []*big.Int, points []A)
}

func groupOf[A comparable, J any](s pointSuite, name string, g *spot, from func(*spot) A, to func(*J) (*spot, error),
	sum func(context.Context, []A, []fr.Element, int) (J, error)) group[A, J] {
	return group[A, J]{s.Options, name, g, from, to, sum, sync.OnceValues(func() ([]*big.Int, []A) {
		// Some points, among them infinity, the generator and its negative.
		logs := draw(random(30), 24)
		points := make([]A, len(logs))
		for i, k := range logs {
			points[i] = from(g.times(k))
		}
		return logs, points
	})}
}

func (g group[A, J]) cases() []Case {
	return []Case{
		{"points/" + g.name + "/golden sum", g.golden},
		{"points/" + g.name + "/sums equal the reference", g.reference},
		{"points/" + g.name + "/many points", g.large},
		{"points/" + g.name + "/points that cancel out", g.cancelling},
		{"points/" + g.name + "/many calls at once", g.together},
		{"points/" + g.name + "/wrong lengths are refused", g.senseless},
		{"points/" + g.name + "/end with the context", g.ends},
	}
}

// check sums points and compares with what their logarithms say. done is false
// where the backend may refuse and did.
func (g group[A, J]) check(ctx context.Context, logs []*big.Int, points []A, scalars []*big.Int, workers int) (done bool, err error) {
	in, ks := slices.Clone(points), elements(scalars)
	before := slices.Clone(ks)
	sum, err := g.sum(ctx, in, ks, workers)
	switch {
	case g.refused(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%d points, %d workers: %w", len(points), workers, err)
	case !slices.Equal(in, points) || !slices.Equal(ks, before):
		return true, fmt.Errorf("%d points: points or scalars were changed", len(points))
	}
	got, err := g.to(&sum)
	if err != nil {
		return true, err
	}
	log := new(big.Int)
	for i := range logs {
		log.Add(log, new(big.Int).Mul(logs[i], scalars[i]))
	}
	if want := g.generator.times(log.Mod(log, order)); !got.equal(want) {
		return true, fmt.Errorf("the sum of %d points with %d workers is %v, want %v", len(points), workers, got, want)
	}
	return true, nil
}

// pick gives n points with logarithms and scalars; at least the first two times
// 24 have all edges.
func (g group[A, J]) pick(n int) (logs []*big.Int, points []A, scalars []*big.Int) {
	l, p := g.known()
	for i := range n {
		logs, points = append(logs, l[i%len(l)]), append(points, p[i%len(p)])
	}
	if n < 5 {
		return logs, points, draw(random(uint64(n)), 5)[:n]
	}
	return logs, points, draw(random(uint64(n)), n)
}

func (g group[A, J]) golden(ctx context.Context) error {
	v := &vectors().Sums
	var points []A
	for _, k := range bigs(v.Logs) {
		points = append(points, g.from(g.generator.times(k)))
	}
	sum, err := g.sum(ctx, points, elements(bigs(v.Scalars)), 2)
	if g.refused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	got, err := g.to(&sum)
	if err != nil {
		return err
	}
	want, zero := bigs(v.G1), new(big.Int)
	p := &spot{coord{want[0], zero}, coord{want[1], zero}}
	if g.name == "G2" {
		want = bigs(v.G2)
		p = &spot{coord{want[0], want[1]}, coord{want[2], want[3]}}
	}
	if !got.equal(p) {
		return fmt.Errorf("the sum is %v, want %v", got, p)
	}
	return nil
}

func (g group[A, J]) reference(ctx context.Context) error {
	for _, n := range []int{0, 1, 2, 3, 4, 7, 24, 31, 48, 100, 257} {
		for _, workers := range []int{-1, 0, 1, 2, 5, 5000} {
			logs, points, scalars := g.pick(n)
			if _, err := g.check(ctx, logs, points, scalars, workers); err != nil {
				return err
			}
		}
	}
	return nil
}

// large has each point many times, with scalars of all sizes.
func (g group[A, J]) large(ctx context.Context) error {
	const n = 1<<13 + 1
	logs, points, scalars := g.pick(n)
	for i := range scalars {
		scalars[i].Rsh(scalars[i], uint(i%256))
	}
	done, err := g.check(ctx, logs, points, scalars, 2)
	if err == nil && !done {
		err = fmt.Errorf("a sum of 2^13 points must be done: %w", kernel.ErrUnsupported)
	}
	return err
}

func (g group[A, J]) cancelling(ctx context.Context) error {
	one, last := big.NewInt(1), new(big.Int).Sub(order, big.NewInt(1))
	point, negative, k := g.from(g.generator), g.from(g.generator.times(last)), number("123456789abcdef")
	for what, c := range map[string]struct{ logs, scalars []*big.Int }{
		"a point and its negative":           {[]*big.Int{one, last}, []*big.Int{k, k}},
		"a point with k and with -k":         {[]*big.Int{one, one}, []*big.Int{k, new(big.Int).Sub(order, k)}},
		"zeros only":                         {[]*big.Int{one, last, one}, []*big.Int{new(big.Int), new(big.Int), new(big.Int)}},
		"one point and infinity":             {[]*big.Int{new(big.Int), one}, []*big.Int{k, one}},
		"infinity only":                      {[]*big.Int{new(big.Int), new(big.Int)}, []*big.Int{k, one}},
		"the same twice, with the same":      {[]*big.Int{one, one}, []*big.Int{k, k}},
		"a point, twice its negative, again": {[]*big.Int{one, last, last, one}, []*big.Int{k, k, k, k}},
	} {
		var points []A
		for _, l := range c.logs {
			switch {
			case l.Sign() == 0:
				points = append(points, *new(A))
			case l == one:
				points = append(points, point)
			default:
				points = append(points, negative)
			}
		}
		if _, err := g.check(ctx, c.logs, points, c.scalars, 1); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func (g group[A, J]) together(ctx context.Context) error {
	return atOnce(func(i int) error {
		logs, points, scalars := g.pick(40 + i)
		_, err := g.check(ctx, logs, points, scalars, 2)
		return err
	})
}

func (g group[A, J]) senseless(ctx context.Context) error {
	_, points, scalars := g.pick(3)
	_, err1 := g.sum(ctx, points, elements(scalars[:2]), 1)
	_, err2 := g.sum(ctx, points[:2], elements(scalars), 1)
	_, err3 := g.sum(ctx, nil, elements(scalars), 1)
	return errors.Join(wrong("too few scalars", err1, kernel.ErrInput, true),
		wrong("too few points", err2, kernel.ErrInput, true), wrong("no points", err3, kernel.ErrInput, true))
}

func (g group[A, J]) ends(ctx context.Context) error {
	_, points, scalars := g.pick(3)
	_, err := g.sum(gone(ctx), points, elements(scalars), 1)
	return g.ended("a sum", err, true)
}
