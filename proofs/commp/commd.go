package commp

import (
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// ZeroPiece is the commitment to size padded zero bytes. It panics when size is
// no piece size (a power of two >= 128), which is a mistake of the caller.
func ZeroPiece(size abi.PaddedPieceSize) cid.Cid {
	if err := checkSize(size); err != nil {
		panic(fmt.Sprintf("commp.ZeroPiece(%d): %v", size, err))
	}
	root := zeroNodes()[level(uint64(size))]
	c, err := commcid.DataCommitmentV1ToCID(root[:])
	if err != nil {
		panic("commp: a 32-byte commitment must encode: " + err.Error())
	}
	return c
}

// CommD is the data commitment of a sector that holds pieces in this order,
// each moved up to the next multiple of its size, everything else zero. No
// pieces give the commitment of an all-zero sector. Pieces that are no valid
// sizes, carry another kind of CID or do not fit are errors.
func CommD(proof abi.RegisteredSealProof, pieces []abi.PieceInfo) (cid.Cid, error) {
	size, err := proof.SectorSize()
	if err != nil {
		return cid.Undef, fmt.Errorf("commp: sector size of seal proof %d: %w", proof, err)
	}
	root, err := Aggregate(abi.PaddedPieceSize(size), pieces)
	if err != nil {
		return cid.Undef, err
	}
	return commcid.DataCommitmentV1ToCID(root[:])
}

// Aggregate is CommD for a sector of size bytes (a power of two), as the bare
// node.
func Aggregate(size abi.PaddedPieceSize, pieces []abi.PieceInfo) (Node, error) {
	if err := checkSize(size); err != nil {
		return Node{}, fmt.Errorf("commp: sector size %d: %w", size, err)
	}
	var f fold
	total := uint64(size) / 32
	for i, p := range pieces {
		if err := p.Size.Validate(); err != nil {
			return Node{}, fmt.Errorf("commp: piece %d has size %d: %w", i, p.Size, err)
		}
		raw, err := commcid.CIDToDataCommitmentV1(p.PieceCID)
		if err != nil {
			return Node{}, fmt.Errorf("commp: piece %d has CID %s: %w", i, p.PieceCID, err)
		}
		if p.Size > size {
			return Node{}, fmt.Errorf("commp: piece %d of %d bytes is larger than the %d-byte sector", i, p.Size, size)
		}
		lvl := level(uint64(p.Size))
		f.align(lvl)
		if nodes := uint64(1) << lvl; f.nodes > total || nodes > total-f.nodes {
			return Node{}, fmt.Errorf("commp: piece %d of %d bytes does not fit: it would start at byte %d of a %d-byte sector",
				i, p.Size, f.nodes*32, size)
		}
		f.push(Node(raw), lvl)
	}
	return f.root(level(uint64(size))), nil
}

// maxSize is far above any sector and keeps tree heights within maxLevel.
const maxSize = abi.PaddedPieceSize(1) << 60

func checkSize(size abi.PaddedPieceSize) error {
	if size > maxSize {
		return fmt.Errorf("larger than %d bytes", maxSize)
	}
	return size.Validate()
}

// align pushes zero subtrees until the node count is a multiple of 2^lvl.
func (f *fold) align(lvl int) {
	z := zeroNodes()
	for i := 0; i < lvl; i++ {
		if f.nodes>>i&1 == 1 {
			f.push(z[i], i)
		}
	}
}
