package fvm

import (
	"fmt"

	commp "github.com/filecoin-project/go-commp-utils/v2"
	"github.com/filecoin-project/go-commp-utils/v2/zerocomm"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// UnsealedCID is the data commitment of a sector that holds the pieces in
// order, each aligned to its size, the rest zero. No pieces give the
// commitment of zeros.
func UnsealedCID(t abi.RegisteredSealProof, pieces []abi.PieceInfo) (cid.Cid, error) {
	ssize, err := t.SectorSize()
	if err != nil {
		return cid.Undef, fmt.Errorf("commitment of %d pieces: %w", len(pieces), err)
	}
	sector := abi.PaddedPieceSize(ssize)
	if len(pieces) == 0 {
		return zerocomm.ZeroPieceCommitment(sector.Unpadded()), nil
	}
	if len(pieces) > int(sector/128) {
		return cid.Undef, fmt.Errorf("%d pieces cannot fit a sector of %d bytes", len(pieces), sector)
	}
	c, size, err := commp.PieceAggregateCommP(t, pieces)
	if err != nil {
		return cid.Undef, fmt.Errorf("commitment of %d pieces: %w", len(pieces), err)
	}
	if size > sector {
		return cid.Undef, fmt.Errorf("pieces take %d bytes of a sector of %d", size, sector)
	}
	if size < sector {
		if c, err = commp.ZeroPadPieceCommitment(c, size.Unpadded(), sector.Unpadded()); err != nil {
			return cid.Undef, fmt.Errorf("pad commitment of %d pieces: %w", len(pieces), err)
		}
	}
	return c, nil
}
