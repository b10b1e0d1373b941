package merkle

import (
	"context"
	"fmt"

	"quarry/proofs/commp"
	"quarry/proofs/kernel"
	"quarry/proofs/poseidon"
)

// CPU hashes rows with packages poseidon and commp, each call on the thread that
// makes it. It refuses widths of columns that poseidon has no parameters for.
type CPU struct{}

// Hashes between two looks at the context: some milliseconds.
const (
	poseidonStep = 1 << 12
	binaryStep   = 1 << 15
)

// Sizes implements kernel.Trees: what suits Builder suits a thread.
func (CPU) Sizes() kernel.TreeSizes { return kernel.TreeSizes{} }

// HashColumns implements kernel.Trees.
func (CPU) HashColumns(ctx context.Context, width int, dst, src []poseidon.Element) error {
	if err := kernel.CheckColumns(width, dst, src); err != nil {
		return err
	}
	h, err := poseidon.New(width)
	if err != nil {
		return fmt.Errorf("%w: columns of %d: %w", kernel.ErrUnsupported, width, err)
	}
	return hashRow(ctx, h, dst, src)
}

func hashRow(ctx context.Context, h *poseidon.Hasher, dst, src []poseidon.Element) error {
	for err := ctx.Err(); ; err = ctx.Err() {
		if err != nil || len(dst) == 0 {
			return err
		}
		n := min(len(dst), poseidonStep)
		h.HashRow(dst[:n], src[:n*h.Arity()])
		dst, src = dst[n:], src[n*h.Arity():]
	}
}

// HashPoseidon implements kernel.Trees.
func (CPU) HashPoseidon(ctx context.Context, rows [][]poseidon.Element) error {
	if err := kernel.CheckPoseidon(rows); err != nil {
		return err
	}
	h := poseidon.MustNew(BaseArity)
	for i := 1; i < len(rows); i++ {
		if err := hashRow(ctx, h, rows[i], rows[i-1]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// HashSHA256 implements kernel.Trees.
func (CPU) HashSHA256(ctx context.Context, rows [][]byte) error {
	if err := kernel.CheckSHA256(rows); err != nil {
		return err
	}
	for i := 1; i < len(rows); i++ {
		for dst, src := rows[i], rows[i-1]; len(dst) > 0; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(len(dst), binaryStep*NodeSize)
			commp.HashRow(dst[:n], src[:2*n])
			dst, src = dst[n:], src[2*n:]
		}
	}
	return ctx.Err()
}
