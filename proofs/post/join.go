package post

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
)

// JoinWindow puts window proofs of one draw over disjoint sets of sectors of one
// seal proof together: the result is what ProveWindow gives over all of them, in
// any order. It is nil when every blob is. Whether the proofs are right is not
// checked; a sector in two of them is ErrTwice.
func JoinWindow(p abi.RegisteredSealProof, blobs ...[]byte) ([]byte, error) {
	s, err := shapeOf(p)
	if err != nil {
		return nil, err
	}
	size := proofSize(windowV11, s.PoseidonForm())
	var all [][]byte
	for _, b := range blobs {
		if len(b) == 0 {
			continue
		}
		if len(b) < 8 || (len(b)-8)%size != 0 || binary.LittleEndian.Uint64(b) != uint64((len(b)-8)/size) {
			return nil, fmt.Errorf("post: joining window proofs: %d bytes are no proof over whole sectors: %w", len(b), merkle.ErrFormat)
		}
		all = slices.AppendSeq(all, slices.Chunk(b[8:], size))
	}
	if len(all) == 0 {
		return nil, nil
	}
	number := func(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
	slices.SortFunc(all, func(a, b []byte) int { return cmp.Compare(number(a), number(b)) })
	for i := 1; i < len(all); i++ {
		if number(all[i]) == number(all[i-1]) {
			return nil, fmt.Errorf("post: joining window proofs: sector %d: %w", number(all[i]), ErrTwice)
		}
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(all))), bytes.Join(all, nil)...), nil
}

// WindowProofSize is the length in bytes of the part of one sector in a window
// proof over sectors of a seal proof; a proof has 8 bytes more.
func WindowProofSize(p abi.RegisteredSealProof) (int, error) {
	s, err := shapeOf(p)
	if err != nil {
		return 0, err
	}
	return proofSize(windowV11, s.PoseidonForm()), nil
}
