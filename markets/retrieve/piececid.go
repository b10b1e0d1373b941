package retrieve

import (
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/ipfs/go-cid"
)

// pieceV1 accepts both forms of piece CID (FRC-0069) and returns v1, the form
// under which pieces are kept.
func pieceV1(c cid.Cid) (cid.Cid, error) {
	if _, err := commcid.CIDToPieceCommitmentV1(c); err == nil {
		return c, nil
	}
	v1, _, err := commcid.PieceCidV1FromV2(c)
	if err != nil {
		return cid.Undef, fmt.Errorf("not a piece CID: %w", err)
	}
	return v1, nil
}
