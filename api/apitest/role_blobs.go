package apitest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// Bulk is an implementation of [api.Blobs] that knows of nothing yet.
type Bulk struct {
	api.Blobs
	Max    int64                                  // bytes that one blob may have, at least 64 KiB
	Damage func(t *testing.T, name api.CidString) // changes a byte of what is kept
	Count  func(t *testing.T) int                 // files that are kept
}

// CheckBlobs is what [api.Blobs] promises.
func CheckBlobs(t *testing.T, fresh func(t *testing.T) Bulk) {
	for name, check := range map[string]func(*testing.T, Bulk){
		"bytes and names": checkBlobNames,
		"the limit":       checkBlobLimit,
		"unknown names":   checkBlobUnknown,
		"damage":          checkBlobDamage,
		"a broken source": checkBlobSource,
	} {
		t.Run(name, func(t *testing.T) { check(t, fresh(t)) })
	}
}

func readBlob(t *testing.T, b api.Blobs, ref api.BlobRef) ([]byte, error) {
	t.Helper()
	r, err := b.BlobOpen(t.Context(), ref)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(r)
	return got, errors.Join(err, r.Close())
}

func checkBlobNames(t *testing.T, b Bulk) {
	for name, data := range map[api.CidString][]byte{
		"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku": {},
		"bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq": []byte("hello"),
	} {
		for range 2 { // the same bytes get the same name
			ref, err := b.BlobPut(t.Context(), iotest.OneByteReader(bytes.NewReader(data)))
			require.NoError(t, err)
			require.Equal(t, api.BlobRef{CID: name, Size: int64(len(data))}, ref)
		}
		got, err := readBlob(t, b, api.BlobRef{CID: name, Size: int64(len(data))})
		require.NoError(t, err)
		require.Equal(t, data, got)
	}
	require.Equal(t, 2, b.Count(t))
}

func checkBlobLimit(t *testing.T, b Bulk) {
	data := bytes.Repeat([]byte("x"), int(b.Max)+1)
	_, err := b.BlobPut(t.Context(), bytes.NewReader(data))
	typed[*api.ErrInvalid](t, err)
	require.Zero(t, b.Count(t), "what is refused leaves nothing behind")
	ref, err := b.BlobPut(t.Context(), bytes.NewReader(data[1:]))
	require.NoError(t, err)
	require.Equal(t, b.Max, ref.Size)
	got, err := readBlob(t, b, ref)
	require.NoError(t, err)
	require.Equal(t, data[1:], got)
}

func checkBlobUnknown(t *testing.T, b Bulk) {
	_, err := readBlob(t, b, api.BlobRef{CID: "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq", Size: 5})
	require.Contains(t, typed[*api.ErrNotFound](t, err).What, "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq")
	for _, bad := range []api.CidString{
		"", "..", "../x", "hello", "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
		"BAFKREIBM6JG3UX5QUMHCN2B3FLC3TYU6DMLB4XA7U5BF44YEGNRJHC4YEQ",
	} {
		_, err := readBlob(t, b, api.BlobRef{CID: bad})
		require.NotEmpty(t, typed[*api.ErrInvalid](t, err).Reason, bad)
	}
}

// checkBlobDamage: bytes that are not those of the name do not pass for them.
func checkBlobDamage(t *testing.T, b Bulk) {
	ref, err := b.BlobPut(t.Context(), bytes.NewReader(bytes.Repeat([]byte("x"), 64<<10)))
	require.NoError(t, err)
	for _, size := range []int64{ref.Size - 1, ref.Size + 1} {
		_, err = readBlob(t, b, api.BlobRef{CID: ref.CID, Size: size})
		typed[*api.ErrNotFound](t, err)
	}
	b.Damage(t, ref.CID)
	_, err = readBlob(t, b, ref)
	require.Contains(t, typed[*api.ErrNotFound](t, err).Hint, "damaged")
}

func checkBlobSource(t *testing.T, b Bulk) {
	broken := errors.New("the source is broken")
	_, err := b.BlobPut(t.Context(), io.MultiReader(bytes.NewReader([]byte("hello")), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.BlobPut(ctx, bytes.NewReader([]byte("hello")))
	require.Error(t, err)
	require.Zero(t, b.Count(t))
}
