package blobs

import (
	"crypto/sha256"
	"hash"
	"io"

	"quarry/api"
)

// checked reads a blob and fails at its end unless the bytes are those of the
// name.
type checked struct {
	r    io.ReadCloser
	ref  api.BlobRef
	hash hash.Hash
	n    int64
}

func newChecked(r io.ReadCloser, ref api.BlobRef) io.ReadCloser {
	return &checked{r: r, ref: ref, hash: sha256.New()}
}

// Read implements io.Reader.
func (c *checked) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.hash.Write(b[:n])
	if c.n > c.ref.Size {
		return n, damaged(c.ref, "it is longer")
	}
	if err != io.EOF { //nolint:errorlint // readers return it bare
		return n, err
	}
	got, err := nameOf(c.hash)
	if err != nil {
		return n, err
	}
	if got != c.ref.CID || c.n != c.ref.Size {
		return n, damaged(c.ref, "its bytes are those of "+string(got))
	}
	return n, io.EOF
}

// Close implements io.Closer.
func (c *checked) Close() error { return c.r.Close() }
