package api

import (
	"context"
	"io"
)

// BlobRef names bytes by their content: a raw CID with SHA2-256, and how many
// bytes it is.
type BlobRef struct {
	CID  CidString
	Size int64
}

// Defined tells whether the reference names anything.
func (r BlobRef) Defined() bool { return r.CID != "" }

// MaxBlob bounds one blob, in bytes: vanilla proofs of 64 GiB sectors stay below
// a tenth of it.
const MaxBlob = 256 << 20

// Blobs keeps results that are too large for a JSON message. It is reached over
// HTTP, never through JSON-RPC. A blob lives as long as a task names it.
type Blobs interface {
	// BlobPut keeps what r gives, at most MaxBlob bytes, and names it; it is durable
	// when BlobPut returns. The same bytes get the same name.
	BlobPut(ctx context.Context, r io.Reader) (BlobRef, error)
	// BlobOpen reads a blob; *ErrNotFound when it is not kept. The reader fails at
	// the end when the bytes are not those of the name.
	BlobOpen(ctx context.Context, ref BlobRef) (io.ReadCloser, error)
}
