package links

import (
	"fmt"

	"github.com/multiformats/go-varint"
)

// Uvarint reads an unsigned LEB128 number from the start of b and returns it
// with its length.
func Uvarint(b []byte) (uint64, int, error) {
	v, n, err := varint.FromUvarint(b)
	if err != nil {
		return 0, 0, fmt.Errorf("read varint: %w", err)
	}
	return v, n, nil
}
