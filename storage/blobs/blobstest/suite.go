package blobstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// VanillaSize is the length in bytes of the vanilla proof of a 32 GiB sector.
const VanillaSize = 11_014_808

// Max is the bound that Conform wants stores to have, in bytes.
const Max = 12 << 20

// Bytes makes n bytes that do not repeat.
func Bytes(n int) []byte {
	out := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = src.Read(out)
	return out
}

// Ref is the name that bytes must get.
func Ref(t testing.TB, b []byte) api.BlobRef {
	t.Helper()
	sum := sha256.Sum256(b)
	mh, err := multihash.Encode(sum[:], multihash.SHA2_256)
	require.NoError(t, err)
	return api.BlobRef{CID: api.CidString(cid.NewCidV1(cid.Raw, mh).String()), Size: int64(len(b))}
}

// Conform runs the suite. open gives an empty store that takes blobs of Max bytes.
func Conform(t *testing.T, open func(t *testing.T) api.Blobs) {
	t.Run("sizes", func(t *testing.T) {
		s := open(t)
		for _, n := range []int{0, 1, 4096, VanillaSize, Max} {
			b := Bytes(n)
			ref, err := s.BlobPut(t.Context(), bytes.NewReader(b))
			require.NoError(t, err, n)
			require.Equal(t, Ref(t, b), ref)
			require.True(t, bytes.Equal(b, Read(t, s, ref)))
		}
	})
	t.Run("too large", func(t *testing.T) {
		s := open(t)
		b := Bytes(Max + 1)
		_, err := s.BlobPut(t.Context(), bytes.NewReader(b))
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid)
		missing(t, s, api.BlobRef{CID: Ref(t, b).CID, Size: Max})
	})
	t.Run("same bytes, same name", func(t *testing.T) {
		s := open(t)
		b := Bytes(100_000)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				ref, err := s.BlobPut(context.Background(), bytes.NewReader(b))
				if err != nil || ref != Ref(t, b) {
					t.Errorf("%v, %v", ref, err)
				}
			})
		}
		wg.Wait()
		require.True(t, bytes.Equal(b, Read(t, s, Ref(t, b))))
	})
	t.Run("what is not there", func(t *testing.T) { absent(t, open) })
	t.Run("what does not come whole", func(t *testing.T) { broken(t, open) })
}

func absent(t *testing.T, open func(t *testing.T) api.Blobs) {
	t.Run("not kept", func(t *testing.T) { missing(t, open(t), Ref(t, []byte("nobody put this"))) })
	t.Run("other size", func(t *testing.T) {
		s := open(t)
		ref, err := s.BlobPut(t.Context(), bytes.NewReader([]byte("proof")))
		require.NoError(t, err)
		for _, size := range []int64{4, 6} {
			missing(t, s, api.BlobRef{CID: ref.CID, Size: size})
		}
	})
	t.Run("no name", func(t *testing.T) {
		s := open(t)
		for _, name := range BadNames {
			_, err := s.BlobOpen(t.Context(), api.BlobRef{CID: api.CidString(name), Size: 1})
			var invalid *api.ErrInvalid
			require.ErrorAs(t, err, &invalid, "%q", name)
		}
	})
}

func broken(t *testing.T, open func(t *testing.T) api.Blobs) {
	t.Run("a source that breaks", func(t *testing.T) {
		s := open(t)
		failed := errors.New("the proof could not be read")
		_, err := s.BlobPut(t.Context(), io.MultiReader(bytes.NewReader(Bytes(5000)), failing{failed}))
		require.ErrorIs(t, err, failed)
		missing(t, s, Ref(t, Bytes(5000)))
	})
	t.Run("a caller that leaves", func(t *testing.T) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.BlobPut(ctx, bytes.NewReader(Bytes(5000)))
		require.ErrorIs(t, err, context.Canceled)
		missing(t, s, Ref(t, Bytes(5000)))
	})
}

// BadNames are no names of blobs.
var BadNames = []string{
	"",
	"x",
	"../../etc/passwd",
	"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",                        // version 0
	"bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",           // DAG-PB
	"BAFKREIHDWDCEFGH4DQKJV67UZCMW7OJEE6XEDZDETOJUZJEVTENXQUVYKU",           // another base
	"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku/../../etc", // more than a name
	"zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA",                     // base58
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Read reads a blob whole.
func Read(t testing.TB, s api.Blobs, ref api.BlobRef) []byte {
	t.Helper()
	r, err := s.BlobOpen(context.Background(), ref)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return b
}

// missing makes sure that a blob is not given, neither at once nor to its end.
func missing(t *testing.T, s api.Blobs, ref api.BlobRef) {
	t.Helper()
	r, err := s.BlobOpen(t.Context(), ref)
	if err == nil {
		_, err = io.ReadAll(r)
		err = errors.Join(err, r.Close())
	}
	var gone *api.ErrNotFound
	require.ErrorAs(t, err, &gone)
}
