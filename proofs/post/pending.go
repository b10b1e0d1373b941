package post

import (
	"context"
	"errors"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/porep"
)

var errNotBuilt = errors.New("post: not built yet")

// SectorAccess is a sector together with its replica and cache directory.
type SectorAccess struct {
	Info   proof.SectorInfo // SealProof, SectorNumber, SealedCID
	Sealed io.ReaderAt
	Cache  porep.Files
}

func WinningSector(p abi.RegisteredPoStProof, miner abi.ActorID, rand abi.PoStRandomness, eligible uint64) ([]uint64, error) {
	return nil, errNotBuilt
}
func ProveWinning(ctx context.Context, miner abi.ActorID, rand abi.PoStRandomness, sectors []SectorAccess) ([]byte, error) {
	return nil, errNotBuilt
}
func VerifyWinning(ctx context.Context, info proof.WinningPoStVerifyInfo, blob []byte) (bool, error) {
	return false, errNotBuilt
}
func ProveWindow(ctx context.Context, miner abi.ActorID, rand abi.PoStRandomness, sectors []SectorAccess) (blob []byte, skipped []abi.SectorNumber, err error) {
	return nil, nil, errNotBuilt
}
func VerifyWindow(ctx context.Context, info proof.WindowPoStVerifyInfo, blob []byte) (bool, error) {
	return false, errNotBuilt
}
func SelfCheck(ctx context.Context, miner abi.ActorID, s SectorAccess) error { return errNotBuilt }
