package groth16

import (
	"context"
	"fmt"
	"sync"
)

// Check decodes every point of the parameters and checks that it is on its
// curve, in the subgroup and not at infinity: some forty microseconds a point in
// G1 and a hundred in G2. A file whose Digest is the published one need not be
// checked. progress, if not nil, is told how many points are done. Whether the
// points are parameters of a certain circuit cannot be seen from them.
func (p *Params) Check(ctx context.Context, workers int, progress func(done, total int64)) error {
	c := &checking{params: p, ctx: ctx, workers: workersOr(workers), progress: progress}
	for _, s := range p.sections() {
		c.total += int64(s.count)
	}
	for _, s := range p.sections() {
		var err error
		if s.size == g1Uncompressed {
			err = checkSection(c, inG1, s)
		} else {
			err = checkSection(c, inG2, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Params) sections() []section { return []section{p.h, p.l, p.a, p.b1, p.b2} }

// checking is one run of Check.
type checking struct {
	params      *Params
	ctx         context.Context // a check lives as long as its call
	workers     int
	progress    func(done, total int64)
	done, total int64
}

// checkPoints is how many points are checked between looks at the context.
const checkPoints = 1 << 13

func checkSection[A, J any](c *checking, g group[A, J], s section) error {
	buf := make([]byte, min(checkPoints, s.count)*s.size)
	for from := 0; from < s.count; from += checkPoints {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		n := min(checkPoints, s.count-from)
		raw, err := c.params.raw(s, from, n, buf)
		if err != nil {
			return err
		}
		if err := checkBlock(g, s, from, raw, c.workers); err != nil {
			return err
		}
		if c.done += int64(n); c.progress != nil {
			c.progress(c.done, c.total)
		}
	}
	return nil
}

// checkBlock checks consecutive points and names the first bad one.
func checkBlock[A, J any](g group[A, J], s section, first int, raw []byte, workers int) error {
	var mu sync.Mutex
	var bad error
	at := len(raw)
	parallel(len(raw)/s.size, workers, func(from, to int) {
		for i := from; i < to; i++ {
			var p A
			err := g.decode(&p, raw[i*s.size:][:s.size])
			if err == nil {
				err = g.check(&p)
			}
			if err == nil {
				continue
			}
			mu.Lock()
			if i < at {
				at, bad = i, fmt.Errorf("groth16: point %d of section %s of parameters: %w: fetch or generate the file again",
					first+i, s.name, err)
			}
			mu.Unlock()
			return
		}
	})
	return bad
}
