package porep

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
)

// Memory does not grow with the sector, except for the proof itself.
func TestMemory(t *testing.T) {
	const mib = 1 << 20
	for _, x := range []struct {
		what     string
		of       func(abi.RegisteredSealProof) (uint64, error)
		proof    abi.RegisteredSealProof
		low, top uint64
	}{
		{"PreCommit2, 2 KiB", func(p abi.RegisteredSealProof) (uint64, error) { return PreCommit2Memory(p, 2) }, 5, 4 * mib, 8 * mib},
		{"PreCommit2, 32 GiB", func(p abi.RegisteredSealProof) (uint64, error) { return PreCommit2Memory(p, 16) }, 8, 64 * mib, 128 * mib},
		{"PreCommit2, 64 GiB", func(p abi.RegisteredSealProof) (uint64, error) { return PreCommit2Memory(p, 16) }, 9, 64 * mib, 128 * mib},
		{"Prove, 32 GiB", ProveMemory, 8, 22 * mib, 32 * mib},
		{"Prove, 32 GiB, non-interactive", ProveMemory, 18, 280 * mib, 400 * mib},
		{"Synthesize, 32 GiB", func(p abi.RegisteredSealProof) (uint64, error) { return SynthesizeMemory(p, 16) }, 13, 40 * mib, 64 * mib},
	} {
		if got, err := x.of(x.proof); err != nil || got < x.low || got > x.top {
			t.Errorf("%s: %d bytes (%v), expected between %d and %d", x.what, got, err, x.low, x.top)
		}
		if _, err := x.of(99); err == nil {
			t.Errorf("%s: an unknown seal proof was accepted", x.what)
		}
	}
}
