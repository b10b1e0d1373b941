package groth16

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/crypto/blake2b"
)

// Sink is where parameters are written; an *os.File opened for reading and
// writing is one.
type Sink interface {
	io.ReaderAt
	io.WriterAt
	// Truncate makes the output size bytes long.
	Truncate(size int64) error
	// Sync returns when everything written is durable.
	Sync() error
}

const (
	// writePoints is how many points are computed and written together.
	writePoints = 1 << 15
	// syncBytes is how much is written between two syncs unless told otherwise.
	syncBytes = 64 << 20
)

// generation is parameters being written: an append-only file whose beginning,
// up to state.done, may be there already.
type generation struct {
	out      Sink
	workers  int
	every    int64 // bytes between two syncs
	save     func([]byte) error
	progress func(stage string, done, total int64)

	state   state
	saved   bool      // state has been saved as it is
	hash    hash.Hash // of the first written bytes
	written int64     // bytes in out that are right
	at      int64     // offset of what comes next; below written while catching up
}

func (g *generation) report(stage string, done, total int) {
	if g.progress != nil {
		g.progress(stage, int64(done), int64(total))
	}
}

// start saves the state of an empty file.
func (g *generation) start() error {
	var err error
	if g.hash, err = blake2b.New512(nil); err != nil {
		return err
	}
	return g.checkpoint()
}

// resume reads what is there and compares it with the state.
func (g *generation) resume(ctx context.Context) error {
	var err error
	if g.hash, err = blake2b.New512(nil); err != nil {
		return err
	}
	n, err := copyContext(ctx, g.hash, io.NewSectionReader(g.out, 0, g.state.done))
	if err != nil {
		return fmt.Errorf("groth16: reading the unfinished parameters: %w", err)
	}
	if n != g.state.done || g.state.done > 0 && !bytes.Equal(g.hash.Sum(nil), g.state.digest[:]) {
		return ErrStale
	}
	g.written, g.saved = n, true
	return nil
}

// checkpoint makes what is written durable and says so in the saved state.
func (g *generation) checkpoint() error {
	if g.save == nil || g.hash == nil || g.saved && g.state.done == g.written {
		return nil
	}
	if err := g.out.Sync(); err != nil {
		return fmt.Errorf("groth16: syncing parameters: %w", err)
	}
	g.state.done = g.written
	g.hash.Sum(g.state.digest[:0])
	if err := g.save(g.state.encode()); err != nil {
		return fmt.Errorf("groth16: saving the state of the generation: %w", err)
	}
	g.saved = true
	return nil
}

// bytes appends b, unless it is in the file already.
func (g *generation) bytes(b []byte) error {
	g.at += int64(len(b))
	if g.at <= g.written {
		return nil
	}
	b = b[int64(len(b))-(g.at-g.written):]
	if _, err := g.out.WriteAt(b, g.written); err != nil {
		return fmt.Errorf("groth16: writing parameters at byte %d: %w", g.written, err)
	}
	g.hash.Write(b) // a hash takes all
	g.written += int64(len(b))
	if g.written-g.state.done >= g.every {
		return g.checkpoint()
	}
	return nil
}

// write computes and writes everything that is not there yet.
func (g *generation) write(ctx context.Context, e *evaluation) (*Generated, error) {
	s, err := g.combine(e)
	if err != nil {
		return nil, err
	}
	vk, err := g.verifyingKey(ctx, s.ic)
	if err != nil {
		return nil, err
	}
	if err := g.bytes(vk.encode()); err != nil {
		return nil, err
	}
	if err := g.sections(ctx, s); err != nil {
		return nil, err
	}
	if err := g.out.Truncate(g.written); err != nil {
		return nil, fmt.Errorf("groth16: setting the length of parameters: %w", err)
	}
	if err := g.out.Sync(); err != nil {
		return nil, fmt.Errorf("groth16: syncing parameters: %w", err)
	}
	return &Generated{VerifyingKey: vk, Size: g.written, Digest: hex.EncodeToString(g.hash.Sum(nil)[:digestSize])}, nil
}

func (g *generation) sections(ctx context.Context, s *scalars) error {
	g1, g2 := Generators()
	in := func(v []fr.Element) func(i, n int) []fr.Element {
		return func(i, n int) []fr.Element { return v[i : i+n] }
	}
	powers := make([]fr.Element, min(writePoints, s.h))
	h := func(i, n int) []fr.Element { s.powers(powers[:n], i); return powers[:n] }
	on1 := pointWriter[fp.Element, *fp.Element]{
		base:   newBaseG1(g1, s.h+len(s.l)+len(s.a)+len(s.b)),
		room:   make([]pointG1, writePoints),
		size:   g1Uncompressed,
		encode: func(b []byte, p *pointG1) { q := bls.G1Affine(*p); encodeG1(b, &q) },
	}
	for _, v := range []pointVector{
		{"h", s.h, h},
		{"l", len(s.l), in(s.l)},
		{"a", len(s.a), in(s.a)},
		{"b_g1", len(s.b), in(s.b)},
	} {
		if err := on1.write(ctx, g, v); err != nil {
			return err
		}
	}
	on2 := pointWriter[bls.E2, *bls.E2]{
		base:   newBaseG2(g2, len(s.b)),
		room:   make([]pointG2, min(writePoints, len(s.b))),
		size:   g2Uncompressed,
		encode: func(b []byte, p *pointG2) { q := bls.G2Affine(*p); encodeG2(b, &q) },
	}
	return on2.write(ctx, g, pointVector{"b_g2", len(s.b), in(s.b)})
}

// pointVector is a section of the parameters: a base times each of n scalars.
type pointVector struct {
	name    string
	n       int
	scalars func(i, n int) []fr.Element // those of the points i … i+n-1
}

// pointWriter is how points of G1 or G2 are computed and written.
type pointWriter[F any, P field[F]] struct {
	base   *fixedBase[F, P]
	room   []point[F] // for as many as are computed together
	size   int        // bytes of a written point
	encode func([]byte, *point[F])
}

// write writes a count and the points of v, computing those that are not written.
func (o *pointWriter[F, P]) write(ctx context.Context, g *generation, v pointVector) error {
	if err := g.bytes(putCount(v.n)); err != nil {
		return err
	}
	step := int(max(1, min(writePoints, g.every/int64(o.size))))
	buf := make([]byte, min(v.n, step)*o.size)
	for i := 0; i < v.n; i += step {
		k := min(step, v.n-i)
		b := buf[:k*o.size]
		if g.at+int64(len(b)) > g.written {
			if err := o.compute(ctx, b, v.scalars(i, k), g.workers); err != nil {
				return fmt.Errorf("groth16: generating section %s of parameters: %w", v.name, err)
			}
		}
		if err := g.bytes(b); err != nil {
			return err
		}
		g.report(v.name, i+k, v.n)
	}
	return nil
}

// compute puts the points of scalars into b.
func (o *pointWriter[F, P]) compute(ctx context.Context, b []byte, scalars []fr.Element, workers int) error {
	points := o.room[:len(scalars)]
	if err := o.base.multiply(ctx, points, scalars, workers); err != nil {
		return err
	}
	parallel(len(points), workers, func(from, to int) {
		for i := from; i < to; i++ {
			o.encode(b[i*o.size:][:o.size], &points[i])
		}
	})
	return nil
}
