package groth16

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// memFile is a file in memory.
type memFile struct{ b []byte }

func (m *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, off)
}
func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}
func (m *memFile) Truncate(n int64) error {
	m.b = append(m.b, make([]byte, max(0, int(n)-len(m.b)))...)[:n]
	return nil
}
func (m *memFile) Sync() error { return nil }

var _ io.ReaderAt = (*memFile)(nil)

func toxicOf(v vector) *Toxic {
	return &Toxic{
		Alpha: elem(v.Toxic.Alpha),
		Beta:  elem(v.Toxic.Beta),
		Gamma: elem(v.Toxic.Gamma),
		Delta: elem(v.Toxic.Delta),
		Tau:   elem(v.Toxic.Tau),
	}
}

func TestGenerateGolden(t *testing.T) {
	v, out := golden(t), new(memFile)
	res, err := Generate(context.Background(), mini{}, out, GenerateOptions{Toxic: toxicOf(v)})
	require.NoError(t, err)
	require.Equal(t, v.Mini.Params, hex.EncodeToString(out.b))
	require.Equal(t, v.Mini.VK, hex.EncodeToString(res.VerifyingKey.encode()))
	require.EqualValues(t, len(out.b), res.Size)
	d, err := Digest(context.Background(), bytes.NewReader(out.b))
	require.NoError(t, err)
	require.Equal(t, d, res.Digest)
}
