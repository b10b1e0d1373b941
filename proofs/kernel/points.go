package kernel

import (
	"context"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Limits of Points.Chunks.
const (
	MaxChunkG1 = 1 << 27
	MaxChunkG2 = 1 << 26
)

// Points multiplies points of BLS12-381 with scalars and sums them up. Points are
// of the subgroup of prime order or infinity; they may occur twice, and with
// their negatives. Scalars are any, zero and one included. No points sum to
// infinity.
type Points interface {
	// Chunks is how many points of either group the backend wants in one call, at
	// most MaxChunkG1 and MaxChunkG2. It gets no more, and fewer only where there
	// are no more in the part of the work at hand. They take 128 and 224 bytes of
	// the host's memory each. Zero leaves it to the caller: 2^19 and 2^18. It never
	// changes.
	Chunks() (g1, g2 int)
	// SumG1 is the sum of scalars[i] times points[i]; there are as many of both.
	// Neither is changed.
	SumG1(ctx context.Context, points []bls.G1Affine, scalars []fr.Element, workers int) (bls.G1Jac, error)
	// SumG2 is SumG1 in the other group.
	SumG2(ctx context.Context, points []bls.G2Affine, scalars []fr.Element, workers int) (bls.G2Jac, error)
}

// CheckSum refuses a sum of so many points with so many scalars if these differ.
func CheckSum(points, scalars int) error {
	if points != scalars {
		return fmt.Errorf("%w: %d points and %d scalars", ErrInput, points, scalars)
	}
	return nil
}

// PointsOr is first, and second where first is nil or refuses.
func PointsOr(first, second Points) Points {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return pointsOr{first, second}
}

type pointsOr struct{ first, second Points }

func (p pointsOr) Chunks() (g1, g2 int) { return p.first.Chunks() }

func (p pointsOr) SumG1(ctx context.Context, points []bls.G1Affine, scalars []fr.Element, workers int) (sum bls.G1Jac, err error) {
	sum, err = p.first.SumG1(ctx, points, scalars, workers)
	err = or(err, func() (again error) {
		sum, again = p.second.SumG1(ctx, points, scalars, workers)
		return again
	})
	return sum, err
}

func (p pointsOr) SumG2(ctx context.Context, points []bls.G2Affine, scalars []fr.Element, workers int) (sum bls.G2Jac, err error) {
	sum, err = p.first.SumG2(ctx, points, scalars, workers)
	err = or(err, func() (again error) {
		sum, again = p.second.SumG2(ctx, points, scalars, workers)
		return again
	})
	return sum, err
}
