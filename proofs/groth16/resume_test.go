package groth16

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var errPower = errors.New("power cut")

// mortal is a file whose machine dies when so many bytes have been written; the
// write during which that happens is torn.
type mortal struct {
	memFile
	left int
}

func (m *mortal) WriteAt(p []byte, off int64) (int, error) {
	if m.left < 0 {
		return 0, errPower
	}
	if m.left -= len(p); m.left >= 0 {
		return m.memFile.WriteAt(p, off)
	}
	n, _ := m.memFile.WriteAt(p[:len(p)+m.left], off)
	return n, errPower
}

// TestResume: however often the power fails, the file is the same in the end.
func TestResume(t *testing.T) {
	c := synthetic{seed: 7, constraints: 40, blank: true, wrong: -1}
	secret, err := RandomToxic(chacha(3))
	require.NoError(t, err)
	want := new(memFile)
	res, err := Generate(context.Background(), c, want, GenerateOptions{Toxic: secret})
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		out, saved, cuts := new(mortal), []byte(nil), 0
		save := func(b []byte) error {
			if out.left < 0 {
				return errPower
			}
			saved = slices.Clone(b)
			return nil
		}
		every := 1000 + rng.Int64N(7000)
		for {
			out.left = int(every) + rng.IntN(len(want.b)-int(every)+1)
			opts := GenerateOptions{State: saved, Save: save, SyncEvery: every, Workers: 2}
			if saved == nil {
				opts.Toxic = secret
			}
			got, err := Generate(context.Background(), c, out, opts)
			if err == nil {
				require.Equal(t, res, got)
				require.Equal(t, want.b, out.b)
				break
			}
			require.ErrorIs(t, err, errPower)
			if cuts++; cuts > 5 {
				every = int64(len(want.b)) // enough of it
			}
		}
	}
}

// TestCancel: what was done until the cancellation is kept.
func TestCancel(t *testing.T) {
	c := synthetic{seed: 8, constraints: 500, blank: true, wrong: -1}
	for _, stage := range []string{"h", "l", "b_g2"} {
		ctx, cancel := context.WithCancel(context.Background())
		var saved []byte
		out := new(memFile)
		opts := GenerateOptions{
			Rand: chacha(4), SyncEvery: 10_000,
			Save:     func(b []byte) error { saved = slices.Clone(b); return nil },
			Progress: func(s string, _, _ int64) { stop(s == stage, cancel) },
		}
		_, err := Generate(ctx, c, out, opts)
		require.ErrorIs(t, err, context.Canceled)
		s, err := decodeState(saved)
		require.NoError(t, err)
		require.EqualValues(t, len(out.b), s.done, "nothing done is lost")
		opts.State, opts.Progress = saved, nil
		res, err := Generate(context.Background(), c, out, opts)
		require.NoError(t, err)
		whole := new(memFile)
		want, err := Generate(context.Background(), c, whole, GenerateOptions{Rand: chacha(4)})
		require.NoError(t, err)
		require.Equal(t, want, res)
		require.Equal(t, whole.b, out.b)
	}
}

func stop(when bool, cancel func()) {
	if when {
		cancel()
	}
}

func TestResumeRefuses(t *testing.T) {
	c := synthetic{seed: 9, constraints: 300, blank: true, wrong: -1}
	var saved []byte
	out := new(memFile)
	_, err := Generate(context.Background(), c, out, GenerateOptions{SyncEvery: 20_000,
		Save: func(b []byte) error { saved = slices.Clone(b); return nil }})
	require.NoError(t, err)
	again := func(c synthetic, out *memFile, state []byte) error {
		_, err := Generate(context.Background(), c, out, GenerateOptions{State: state})
		return err
	}
	require.NoError(t, again(c, &memFile{slices.Clone(out.b)}, saved))

	other := c
	other.constraints++
	require.ErrorIs(t, again(other, &memFile{slices.Clone(out.b)}, saved), ErrStale)

	changed := slices.Clone(out.b)
	changed[1000] ^= 1
	require.ErrorIs(t, again(c, &memFile{changed}, saved), ErrStale)
	require.ErrorIs(t, again(c, &memFile{slices.Clone(out.b[:100])}, saved), ErrStale)

	for i := range saved {
		b := slices.Clone(saved)
		b[i] ^= 1
		require.ErrorIs(t, again(c, &memFile{slices.Clone(out.b)}, b), errState, "byte %d", i)
	}
	require.ErrorIs(t, again(c, out, saved[:len(saved)-1]), errState)
}

// TestLongerOutput: what was in the output before is gone.
func TestLongerOutput(t *testing.T) {
	out := &memFile{make([]byte, 1<<20)}
	_, err := Generate(context.Background(), mini{}, out, GenerateOptions{Toxic: toxicOf(golden(t))})
	require.NoError(t, err)
	require.Equal(t, unhex(t, golden(t).Mini.Params), out.b)
}
