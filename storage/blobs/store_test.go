package blobs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/storage/blobs/blobstest"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(Config{Dir: filepath.Join(t.TempDir(), "blobs"), Max: blobstest.Max})
	require.NoError(t, err)
	return s
}

// files are the names in a store's directory.
func files(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.cfg.Dir)
	require.NoError(t, err)
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestStoreConforms(t *testing.T) {
	blobstest.Conform(t, func(t *testing.T) api.Blobs { return newStore(t) })
}

// TestPutLeavesNothingHalfWritten, whatever ends it.
func TestPutLeavesNothingHalfWritten(t *testing.T) {
	s := newStore(t)
	broken := errors.New("broken")
	_, err := s.BlobPut(t.Context(), io.MultiReader(strings.NewReader("abc"), errReader{broken}))
	require.ErrorIs(t, err, broken)
	require.Empty(t, files(t, s))
	_, err = s.BlobPut(t.Context(), bytes.NewReader(make([]byte, blobstest.Max+1)))
	require.Error(t, err)
	require.Empty(t, files(t, s))
	require.Error(t, s.putNamed(t.Context(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", strings.NewReader("other")))
	require.Empty(t, files(t, s))
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestFullDiskIsToldAsSuch through a source that fails as a full disk does.
func TestFullDiskIsToldAsSuch(t *testing.T) {
	s := newStore(t)
	_, err := s.BlobPut(t.Context(), errReader{&os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}})
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, os.RemoveAll(s.cfg.Dir))
	_, err = s.BlobPut(t.Context(), strings.NewReader("x"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = s.SweepUnnamed(nil, 0)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestDamageIsNoticed: a file that is not what its name says is not given to its
// end, and counts as missing.
func TestDamageIsNoticed(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"truncated": func(f string) error { return os.Truncate(f, 4999) },
		"grown":     func(f string) error { return os.Truncate(f, 5001) },
		"changed": func(f string) error {
			b := blobstest.Bytes(5000)
			b[4999] ^= 1
			return os.WriteFile(f, b, 0o600)
		},
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			ref, err := s.BlobPut(t.Context(), bytes.NewReader(blobstest.Bytes(5000)))
			require.NoError(t, err)
			require.NoError(t, spoil(s.path(ref.CID)))
			r, err := s.BlobOpen(t.Context(), ref)
			if err == nil {
				_, err = io.ReadAll(r)
				require.NoError(t, r.Close())
			}
			var gone *api.ErrNotFound
			require.ErrorAs(t, err, &gone)
			_, err = s.BlobPut(t.Context(), bytes.NewReader(blobstest.Bytes(5000)))
			require.NoError(t, err, "put again it is whole again")
			require.True(t, bytes.Equal(blobstest.Bytes(5000), blobstest.Read(t, s, ref)))
		})
	}
}

// TestCheckedReader counts to the byte.
func TestCheckedReader(t *testing.T) {
	b := blobstest.Bytes(10)
	ref := blobstest.Ref(t, b)
	for _, c := range []struct {
		data []byte
		size int64
		ok   bool
	}{{b, 10, true}, {b, 9, false}, {b, 11, false}, {b[:9], 10, false}, {append(bytes.Clone(b), 0), 10, false}} {
		got, err := io.ReadAll(newChecked(io.NopCloser(bytes.NewReader(c.data)), api.BlobRef{CID: ref.CID, Size: c.size}))
		if c.ok {
			require.NoError(t, err)
			require.Equal(t, b, got)
			continue
		}
		var gone *api.ErrNotFound
		require.ErrorAs(t, err, &gone, "%d of %d", len(c.data), c.size)
	}
	broken := errors.New("broken")
	_, err := io.ReadAll(newChecked(io.NopCloser(errReader{broken}), ref))
	require.ErrorIs(t, err, broken)
}

func TestOpenTidiesUp(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{tempPrefix + "1", tempPrefix + "2", "kept"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), nil, 0o600))
	}
	s, err := Open(Config{Dir: dir})
	require.NoError(t, err)
	require.Equal(t, []string{"kept"}, files(t, s))
	require.Equal(t, int64(api.MaxBlob), s.cfg.Max)
	require.NoError(t, os.Mkdir(filepath.Join(dir, tempPrefix+"3"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, tempPrefix+"3", "x"), nil, 0o600))
	_, err = Open(Config{Dir: dir})
	require.ErrorContains(t, err, "half-written")
	_, err = Open(Config{Dir: filepath.Join(dir, "kept", "below a file")})
	require.Error(t, err)
}

// TestSweep deletes what is not named and old, and nothing else; touching makes
// young.
func TestSweep(t *testing.T) {
	s := newStore(t)
	put := func(text string, age time.Duration) api.BlobRef {
		ref, err := s.BlobPut(t.Context(), strings.NewReader(text))
		require.NoError(t, err)
		then := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(s.path(ref.CID), then, then))
		return ref
	}
	named, young, old, touched := put("named", 2*time.Hour), put("young", 59*time.Minute), put("old", time.Hour), put("touched",
		2*time.Hour)
	there, err := s.Touch(touched)
	require.NoError(t, err)
	require.True(t, there)
	half := filepath.Join(s.cfg.Dir, tempPrefix+"x")
	require.NoError(t, os.WriteFile(half, nil, 0o600))
	then := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(half, then, then))
	n, err := s.SweepUnnamed(map[api.CidString]bool{named.CID: true}, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.ElementsMatch(t, []string{string(named.CID), string(young.CID), string(touched.CID)}, files(t, s))

	there, err = s.Touch(old)
	require.NoError(t, err)
	require.False(t, there)
	there, err = s.Touch(api.BlobRef{CID: named.CID, Size: named.Size + 1})
	require.NoError(t, err)
	require.False(t, there)
	_, err = s.Touch(api.BlobRef{CID: "../x"})
	require.Error(t, err)

	require.NoError(t, os.MkdirAll(filepath.Join(s.cfg.Dir, "a directory", "with files"), 0o700))
	n, err = s.SweepUnnamed(nil, 0)
	require.ErrorContains(t, err, "a directory")
	require.Equal(t, 3, n, "one that cannot go does not keep the others")
}

func FuzzParse(f *testing.F) {
	for _, n := range blobstest.BadNames {
		f.Add(n)
	}
	f.Add("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
	f.Fuzz(func(t *testing.T, name string) {
		got, err := Parse(name)
		if err != nil {
			var invalid *api.ErrInvalid
			require.ErrorAs(t, err, &invalid)
			require.Less(t, len(err.Error()), 1000)
			return
		}
		require.Equal(t, name, string(got))
		require.Len(t, name, 59)
		require.Equal(t, filepath.Base(name), name, "it stays in the directory")
	})
}

func TestParse(t *testing.T) {
	got, err := Parse("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
	require.NoError(t, err)
	require.Equal(t, api.CidString("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"), got)
	for _, n := range blobstest.BadNames {
		_, err := Parse(n)
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid, n)
	}
}
