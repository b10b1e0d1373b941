//go:build !amd64 || purego

package commp

// shaUnit is false where no kernel of ours exists; crypto/sha256 still uses the
// instructions the CPU has.
var shaUnit bool

func hashRowFast(_, _ []byte) int { return 0 }
