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
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if _, err := io.CopyN(h, r, 16<<20); err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)[:digestSize]), nil
		} else if err != nil {
			return "", fmt.Errorf("groth16: computing the digest of parameters: %w", err)
		}
	}
}
