package groth16

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"

	"golang.org/x/crypto/blake2b"
)

// digestSize is how many bytes of the BLAKE2b-512 are kept.
const digestSize = 16

// Digest is the checksum by which parameter files are published: the first 16
// bytes of their BLAKE2b-512, in hex (rust-fil-proofs parameters.json).
func Digest(ctx context.Context, r io.Reader) (string, error) {
	h, err := blake2b.New512(nil)
	if err != nil {
		return "", err
	}
	if _, err := copyContext(ctx, h, r); err != nil {
		return "", fmt.Errorf("groth16: computing the digest of parameters: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:digestSize]), nil
}

// copyContext is io.Copy that can be stopped.
func copyContext(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := io.CopyN(w, r, 16<<20)
		if n += k; err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}
