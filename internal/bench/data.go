package bench

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// zeros is an endless stream of zero bytes.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Stream is an endless stream of bytes that depend on seed only: the key stream
// of Go's ChaCha8 with the seed as little-endian number.
func Stream(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}
