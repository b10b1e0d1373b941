package snarkpack

import (
	"fmt"
	"math/bits"
)

// Version selects how challenges are derived; see the package documentation.
type Version int

const (
	V1 Version = 1 // SnarkPack as of FIP-0013; only for proofs made before V2
	V2 Version = 2 // hashes every round and the last values; use this one
)

const (
	// MaxProofs is the largest number of proofs in one aggregate, padding
	// included: 819 sectors with 10 partitions need 8,192, and the published SRS
	// is cut for no more than this.
	MaxProofs = 1 << 16

	// MaxPowers is the largest number of points in one vector of an SRS file
	// (bellperson src/groth16/aggregate/srs.rs MAX_SRS_SIZE).
	MaxPowers = 1<<20 + 1
)

func (v Version) valid() bool { return v == V1 || v == V2 }

// PaddedCount is the number of proofs in an aggregate of n proofs: the next
// power of two, and two for a single proof. The places after the n-th hold the
// last proof again. It returns 0 for n below 1 or above MaxProofs.
func PaddedCount(n int) int {
	if n < 1 || n > MaxProofs {
		return 0
	}
	if n == 1 {
		return 2
	}
	return 1 << bits.Len(uint(n-1))
}

// ProofLength is the length in bytes of an encoded aggregate of n proofs, n as
// PaddedCount returns it: 2,260 bytes and 2,976 for each halving.
func ProofLength(n int) int {
	return proofFixed + proofPerRound*rounds(n)
}

// rounds is log2 of a power of two.
func rounds(n int) int { return bits.Len(uint(n)) - 1 }

// checkCount says whether n can be the padded number of proofs.
func checkCount(n uint64) error {
	if n < 2 || n > MaxProofs || n&(n-1) != 0 {
		return fmt.Errorf("number of proofs %d is not a power of two from 2 to %d", n, MaxProofs)
	}
	return nil
}
