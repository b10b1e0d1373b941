package unsealed

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	rle "github.com/filecoin-project/go-bitfield/rle"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRanges(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s-t01000-1")
	_, err := Open(name, 2048)
	require.ErrorIs(t, err, fs.ErrNotExist)
	f, err := Create(name, 2048)
	require.NoError(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{1}, 512), 512)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{1}, 2048)
	require.Error(t, err, "the record must not be overwritten by data")
	require.NoError(t, f.Mark(512, 512))
	require.NoError(t, f.Mark(512, 512))
	require.Error(t, f.Mark(2048, 128))
	require.NoError(t, f.Close())

	for _, open := range []func() (*File, error){
		func() (*File, error) { return Open(name, 2048) },
		func() (*File, error) { return OpenAny(name) },
		func() (*File, error) { return Create(name, 2048) },
	} {
		f, err := open()
		require.NoError(t, err)
		require.Equal(t, int64(2048), f.Size())
		for _, c := range []struct {
			off, size abi.PaddedPieceSize
			want      bool
		}{{512, 512, true}, {640, 128, true}, {0, 512, false}, {512, 1024, false}, {384, 256, false}} {
			has, err := f.Has(c.off, c.size)
			require.NoError(t, err)
			require.Equal(t, c.want, has, "%d+%d", c.off, c.size)
		}
		require.NoError(t, f.Close())
	}
	_, err = Open(name, 4096)
	require.ErrorIs(t, err, ErrDamaged)
}

// TestLayout reads the file the way Lotus does.
func TestLayout(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := Create(name, 2048)
	require.NoError(t, err)
	require.NoError(t, f.Mark(1024, 1024))
	require.NoError(t, f.Close())
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	n := int(binary.LittleEndian.Uint32(b[len(b)-4:]))
	require.Equal(t, len(b), 2048+n+4)
	it, err := rle.DecodeRLE(b[2048 : 2048+n])
	require.NoError(t, err)
	for _, want := range []rle.Run{{Val: false, Len: 1024}, {Val: true, Len: 1024}} {
		got, err := it.NextRun()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.False(t, it.HasNext())
}

// TestTornShrink: a crash after the record was rewritten shorter, before the
// file was cut, must read as the new record.
func TestTornShrink(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := Create(name, 1<<16)
	require.NoError(t, err)
	for i := abi.PaddedPieceSize(0); i < 1<<16; i += 1024 {
		require.NoError(t, f.Mark(i, 128))
	}
	before, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, f.Mark(0, 1<<16))
	after, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Less(t, len(after), len(before))
	torn := append(bytes.Clone(after), before[len(after):]...)
	require.NoError(t, os.WriteFile(name, torn, 0o600))
	f, err = Open(name, 1<<16)
	require.NoError(t, err)
	has, err := f.Has(0, 1<<16)
	require.NoError(t, err)
	require.True(t, has)
	require.NoError(t, f.Close())
}

func TestMarksAgreeWithModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		name := filepath.Join(dir, "f")
		_ = os.Remove(name)
		f, err := Create(name, 4096)
		require.NoError(t, err)
		defer f.Close() //nolint:errcheck // test
		var model [32]bool
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			off := rapid.IntRange(0, 31).Draw(t, "off")
			n := rapid.IntRange(1, 32-off).Draw(t, "n")
			on := rapid.Bool().Draw(t, "on")
			op := f.Unmark
			if on {
				op = f.Mark
			}
			require.NoError(t, op(abi.PaddedPieceSize(off*128), abi.PaddedPieceSize(n*128)))
			for i := off; i < off+n; i++ {
				model[i] = on
			}
		}
		g, err := OpenAny(name)
		require.NoError(t, err)
		defer g.Close() //nolint:errcheck // test
		for i, want := range model {
			has, err := g.Has(abi.PaddedPieceSize(i*128), 128)
			require.NoError(t, err)
			require.Equal(t, want, has)
		}
	})
}

func FuzzParseTrailer(f *testing.F) {
	f.Add([]byte{4, 1, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		if runs, ok := parseTrailer(b); ok {
			u := &File{size: 1 << 16, runs: runs}
			if _, err := u.Has(0, 128); err != nil {
				t.Fatalf("accepted a record it cannot use: %v", err)
			}
		}
	})
}
