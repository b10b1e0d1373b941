package porep

import (
	"context"
	"errors"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
)

var errNotBuilt = errors.New("porep: not built yet")

func PreCommit1(ctx context.Context, s Sector, ticket abi.SealRandomness, pieces []abi.PieceInfo, unsealed io.ReaderAt, cache Files, p Progress) (PreCommit1Out, error) {
	return PreCommit1Out{}, errNotBuilt
}
func PreCommit2(ctx context.Context, s Sector, pc1 PreCommit1Out, unsealed io.ReaderAt, sealed File, cache Files, p Progress) (Commitments, error) {
	return Commitments{}, errNotBuilt
}
func Prove(ctx context.Context, s Sector, req ProveRequest, sealed io.ReaderAt, cache Files) ([]byte, error) {
	return nil, errNotBuilt
}
func Verify(ctx context.Context, info proof.SealVerifyInfo, blob []byte) (bool, error) {
	return false, errNotBuilt
}
func Unseal(ctx context.Context, s Sector, ticket abi.SealRandomness, commD cid.Cid, sealed io.ReaderAt, out io.Writer, offset, size abi.PaddedPieceSize) error {
	return errNotBuilt
}
func ClearCache(cache Files, proof abi.RegisteredSealProof) error { return errNotBuilt }
