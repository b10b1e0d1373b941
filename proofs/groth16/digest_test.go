package groth16

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDigest has the vector of RFC 7693, appendix A.
func TestDigest(t *testing.T) {
	d, err := Digest(context.Background(), strings.NewReader("abc"))
	require.NoError(t, err)
	require.Equal(t, "ba80a53f981c4d0d6a2797b69f12f6e9", d)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Digest(ctx, strings.NewReader("abc"))
	require.ErrorIs(t, err, context.Canceled)
}

// TestMemoryEstimate pins what the comments say.
func TestMemoryEstimate(t *testing.T) {
	require.InDelta(t, 0.6, float64(MemoryEstimate(2_687_921, 40, 2_685_673))/(1<<30), 0.1)
	require.InDelta(t, 17, float64(MemoryEstimate(130_278_541, 328, 130_169_893))/(1<<30), 1)
	require.InDelta(t, 0.34, float64(GenerateMemoryEstimate(40, 2_685_673))/(1<<30), 0.05)
}
