package groth16

import (
	"context"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
)

// BenchmarkQuotient is the transforms of 2^16 rows.
func BenchmarkQuotient(b *testing.B) {
	const n = 1 << 16
	rows := [3][]fr.Element{}
	for i := range rows {
		rows[i] = make([]fr.Element, n)
		for k := range rows[i] {
			rows[i][k].SetUint64(uint64(i*n + k + 2))
		}
	}
	for b.Loop() {
		require.NoError(b, quotient(context.Background(), CPU{}, rows[0], rows[1], rows[2], func() int { return 1 }, func(int) {}))
	}
}
