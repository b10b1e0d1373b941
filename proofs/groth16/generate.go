package groth16

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/r1cs"
)

// GenerateOptions are how to generate.
type GenerateOptions struct {
	// Toxic is the secret to use; nil draws one from Rand. It is ignored when
	// State is given.
	Toxic *Toxic
	// Rand is where the secret comes from; nil is crypto/rand.
	Rand io.Reader
	// Workers is how many processors to use; 0 is all.
	Workers int
	// State is what Save got last of a generation that did not end; empty begins
	// a new one, whatever is in the output.
	State []byte
	// Save keeps the state durably in place of the one before, so that the
	// generation can go on after an interruption; nil keeps none. The state holds
	// the secret: keep it from other users, and remove it when Generate has
	// returned without an error.
	Save func(state []byte) error
	// SyncEvery is how many bytes are written between two syncs and saves; 0 is 64
	// MiB.
	SyncEvery int64
	// Progress, if not nil, is told of the stages "count", "evaluate"
	// (constraints), then "h", "l", "a", "b_g1" and "b_g2" (points).
	Progress func(stage string, done, total int64)
}

// Generated is what came out.
type Generated struct {
	VerifyingKey *VerifyingKey
	Size         int64  // of the parameters in bytes
	Digest       string // of the parameters, as the function Digest computes it
}

// ErrStale says that the output is not what the saved state says of it.
var ErrStale = errors.New("groth16: the unfinished parameters are not those that the saved state belongs to: remove both and begin again")

// Generate makes parameters for a circuit and writes them to out in bellperson's
// file format, with the standard generators of G1 and G2. Given the same secret
// it writes what bellperson's generate_parameters does.
//
// THE SECRET MAKES FALSE PROOFS. Such parameters are for a devnet; parameters for
// a network whose members do not trust the one who generated them come from a
// ceremony.
//
// The circuit is walked twice and needs no values. Memory: 96 bytes for every
// variable and some tens of MiB. Output is written in order and synced now and
// then (SyncEvery); when Generate fails or is cancelled, out holds the beginning of the file,
// and the same call with the last saved State goes on there.
func Generate(ctx context.Context, c r1cs.Circuit, out Sink, opts GenerateOptions) (*Generated, error) {
	g := &generation{
		out:      out,
		workers:  workersOr(opts.Workers),
		save:     opts.Save,
		progress: opts.Progress,
		every:    opts.SyncEvery,
	}
	if g.every <= 0 {
		g.every = syncBytes
	}
	g.report("count", 0, 1)
	size, err := count(ctx, c)
	if err != nil {
		return nil, err
	}
	g.report("count", 1, 1)
	defer func() { g.state.toxic = Toxic{} }()
	if err := g.begin(ctx, size, opts); err != nil {
		return nil, err
	}
	rows := int(size.Constraints) // count has limited the size
	e, err := evaluate(ctx, c, size, g.state.toxic.Tau, func(n int) { g.report("evaluate", n, rows) })
	if err != nil {
		return nil, err
	}
	g.report("evaluate", rows, rows)
	res, err := g.write(ctx, e)
	if err != nil {
		return nil, errors.Join(err, g.checkpoint())
	}
	return res, nil
}

// begin takes up the saved state, or makes and saves one before anything depends
// on it.
func (g *generation) begin(ctx context.Context, size shape, opts GenerateOptions) error {
	if len(opts.State) > 0 {
		s, err := decodeState(opts.State)
		if err != nil {
			return err
		}
		if s.shape != size {
			return fmt.Errorf("groth16: the saved state is of a circuit of another size (%d constraints, this one has %d): %w",
				s.shape.Constraints, size.Constraints, ErrStale)
		}
		g.state = *s
		return g.resume(ctx)
	}
	t := opts.Toxic
	if t == nil {
		src := opts.Rand
		if src == nil {
			src = rand.Reader
		}
		var err error
		if t, err = RandomToxic(src); err != nil {
			return err
		}
	}
	if err := t.usable(); err != nil {
		return err
	}
	g.state = state{toxic: *t, shape: size}
	if err := g.out.Truncate(0); err != nil {
		return fmt.Errorf("groth16: emptying the output: %w", err)
	}
	return g.start()
}

// combine turns what evaluate found into the scalars of the points: c becomes
// (beta·a + alpha·b + c) over gamma for inputs and over delta for aux variables;
// zeros are taken out of a and b.
func (g *generation) combine(e *evaluation) (*scalars, error) {
	var overGamma, overDelta fr.Element
	t := &g.state.toxic
	overGamma.Inverse(&t.Gamma)
	overDelta.Inverse(&t.Delta)
	inputs := e.inputs
	parallel(len(e.c), g.workers, func(from, to int) {
		var x fr.Element
		for i := from; i < to; i++ {
			v := &e.c[i]
			v.Add(v, x.Mul(&e.a[i], &t.Beta))
			v.Add(v, x.Mul(&e.b[i], &t.Alpha))
			if i < inputs {
				v.Mul(v, &overGamma)
			} else {
				v.Mul(v, &overDelta)
			}
		}
	})
	for i := range e.c {
		if !e.c[i].IsZero() {
			continue
		}
		if i < inputs {
			return nil, fmt.Errorf("groth16: public input %d vanishes from the circuit", i)
		}
		return nil, fmt.Errorf("groth16: the circuit does not constrain private variable %d", i-inputs)
	}
	s := &scalars{ic: e.c[:inputs], l: e.c[inputs:], a: withoutZeros(e.a), b: withoutZeros(e.b)}
	s.hFirst.Mul(&e.lagrange.z, &overDelta)
	s.h, s.tau = e.want.domain()-1, t.Tau
	return s, nil
}

// scalars are the discrete logarithms of all points.
type scalars struct {
	ic, l, a, b []fr.Element
	h           int        // points of h
	hFirst, tau fr.Element // point i of h is hFirst·tau^i
}

// powers sets out to the scalars of h from number first on.
func (s *scalars) powers(out []fr.Element, first int) {
	var x fr.Element
	x.Exp(s.tau, big.NewInt(int64(first))).Mul(&x, &s.hFirst)
	for i := range out {
		out[i] = x
		x.Mul(&x, &s.tau)
	}
}

func withoutZeros(v []fr.Element) []fr.Element {
	n := 0
	for i := range v {
		if !v[i].IsZero() {
			v[n] = v[i]
			n++
		}
	}
	return v[:n]
}

// verifyingKey are the points at the head of the file.
func (g *generation) verifyingKey(ctx context.Context, ic []fr.Element) (*VerifyingKey, error) {
	g1, g2 := Generators()
	vk, t := new(VerifyingKey), &g.state.toxic
	vk.AlphaG1.ScalarMultiplication(&g1, bigOf(t.Alpha))
	vk.BetaG1.ScalarMultiplication(&g1, bigOf(t.Beta))
	vk.BetaG2.ScalarMultiplication(&g2, bigOf(t.Beta))
	vk.GammaG2.ScalarMultiplication(&g2, bigOf(t.Gamma))
	vk.DeltaG1.ScalarMultiplication(&g1, bigOf(t.Delta))
	vk.DeltaG2.ScalarMultiplication(&g2, bigOf(t.Delta))
	points := make([]pointG1, len(ic))
	if err := newBaseG1(g1, len(ic)).multiply(ctx, points, ic, g.workers); err != nil {
		return nil, err
	}
	vk.IC = make([]bls.G1Affine, len(ic))
	for i := range points {
		vk.IC[i] = bls.G1Affine(points[i])
	}
	return vk, nil
}
