package groth16

import (
	"context"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/fft"

	"quarry/proofs/kernel"
)

// CPU sums points and transforms vectors with gnark-crypto; it implements
// kernel.Points and kernel.Transforms and refuses nothing. A sum or one half of a
// transform cannot be stopped: of 2^19 points or 2^24 elements that is seconds.
type CPU struct{}

// Chunks implements kernel.Points: what suits the prover suits this.
func (CPU) Chunks() (g1, g2 int) { return 0, 0 }

// SumG1 implements kernel.Points.
func (CPU) SumG1(ctx context.Context, points []bls.G1Affine, scalars []fr.Element, workers int) (sum bls.G1Jac, err error) {
	if err := canSum(ctx, len(points), len(scalars)); err != nil || len(points) == 0 {
		return inG1.infinity, err
	}
	if _, err := sum.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: tasks(workers)}); err != nil {
		return sum, fmt.Errorf("groth16: summing %d points of G1: %w", len(points), err)
	}
	return sum, nil
}

// SumG2 implements kernel.Points.
func (CPU) SumG2(ctx context.Context, points []bls.G2Affine, scalars []fr.Element, workers int) (sum bls.G2Jac, err error) {
	if err := canSum(ctx, len(points), len(scalars)); err != nil || len(points) == 0 {
		return inG2.infinity, err
	}
	if _, err := sum.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: tasks(workers)}); err != nil {
		return sum, fmt.Errorf("groth16: summing %d points of G2: %w", len(points), err)
	}
	return sum, nil
}

func canSum(ctx context.Context, points, scalars int) error {
	if err := kernel.CheckSum(points, scalars); err != nil {
		return err
	}
	return ctx.Err()
}

// tasks is workers in the range that gnark-crypto takes.
func tasks(workers int) int { return max(1, min(workers, maxWorkers)) }

// Extend implements kernel.Transforms. It takes no memory beyond the twiddle
// factors, an eighth of a vector.
func (CPU) Extend(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error {
	if err := canTransform(ctx, v, &shift); err != nil || len(v) == 1 {
		return err
	}
	d := fft.NewDomain(uint64(len(v)), fft.WithoutPrecompute())
	n := tasks(workers)
	d.FFTInverse(v, fft.DIF, fft.WithNbTasks(n))
	if err := ctx.Err(); err != nil {
		return err
	}
	scaleReversed(v, shift, n)
	d.FFT(v, fft.DIT, fft.WithNbTasks(n))
	return ctx.Err()
}

// Interpolate implements kernel.Transforms, with memory as Extend.
func (CPU) Interpolate(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error {
	if err := canTransform(ctx, v, &shift); err != nil || len(v) == 1 {
		return err
	}
	d := fft.NewDomain(uint64(len(v)), fft.WithoutPrecompute())
	n := tasks(workers)
	d.FFTInverse(v, fft.DIF, fft.WithNbTasks(n))
	if err := ctx.Err(); err != nil {
		return err
	}
	shift.Inverse(&shift)
	scaleReversed(v, shift, n)
	fft.BitReverse(v)
	return ctx.Err()
}

func canTransform(ctx context.Context, v []fr.Element, shift *fr.Element) error {
	if err := kernel.CheckTransform(v, shift); err != nil {
		return err
	}
	return ctx.Err()
}
