package devnet

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"

	"github.com/filecoin-project/go-state-types/proof"

	"quarry/chain/fvm"
	"quarry/proofs/envelope"
	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/proofs/update"
)

// verifier checks proof fields that are envelopes: it loads the vanilla proof
// they name from the chain's store and verifies it completely. Anything else
// is an invalid proof on this network.
type verifier struct {
	blocks *blocks
	log    *slog.Logger
	mu     sync.Mutex
	known  map[[32]byte]bool // results by input; a message runs several times
}

var _ fvm.ProofVerifier = (*verifier)(nil)

func newVerifier(b *blocks, log *slog.Logger) *verifier {
	return &verifier{blocks: b, log: log, known: map[[32]byte]bool{}}
}

// once runs check on the blob that field names, unless the answer for the same
// input is known. A missing blob is not remembered: it may arrive later.
func (v *verifier) once(ctx context.Context, kind string, info any, field []byte, check func(blob []byte) (bool, error)) (bool, error) {
	c, ok := envelope.Parse(field)
	if !ok {
		v.log.Warn("proof refused: not an envelope of a vanilla proof", "kind", kind, "bytes", len(field))
		return false, nil
	}
	raw, err := json.Marshal(info)
	if err != nil {
		return false, fmt.Errorf("%s proof: encode input: %w", kind, err)
	}
	key := sha256.Sum256(append([]byte(kind), raw...))
	v.mu.Lock()
	res, seen := v.known[key]
	v.mu.Unlock()
	if seen {
		return res, nil
	}
	blob, err := v.blocks.Get(ctx, c)
	if err != nil {
		v.log.Warn("proof refused: the vanilla proof was not put on the node", "kind", kind, "blob", c.String())
		return false, nil
	}
	if res, err = check(blob); err != nil {
		v.log.Warn("proof refused", "kind", kind, "err", err)
		return false, err
	}
	if !res {
		v.log.Warn("proof refused: it does not verify", "kind", kind, "blob", c.String())
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) > 10_000 {
		clear(v.known)
	}
	v.known[key] = res
	return res, nil
}

// Seal verifies one sealed sector.
func (v *verifier) Seal(ctx context.Context, info proof.SealVerifyInfo) (bool, error) {
	return v.once(ctx, "seal", info, info.Proof, func(blob []byte) (bool, error) { return porep.Verify(ctx, info, blob) })
}

// Aggregate refuses: vanilla proofs do not aggregate.
func (v *verifier) Aggregate(context.Context, proof.AggregateSealVerifyProofAndInfos) (bool, error) {
	return false, nil
}

// WindowPoSt verifies one window proof over all its sectors.
func (v *verifier) WindowPoSt(ctx context.Context, info proof.WindowPoStVerifyInfo) (bool, error) {
	if len(info.Proofs) != 1 {
		return false, nil
	}
	return v.once(ctx, "window", info, info.Proofs[0].ProofBytes, func(blob []byte) (bool, error) { return post.VerifyWindow(ctx, info, blob) })
}

// Winning verifies the proof in a block header.
func (v *verifier) Winning(ctx context.Context, info proof.WinningPoStVerifyInfo) (bool, error) {
	if len(info.Proofs) != 1 {
		return false, nil
	}
	return v.once(ctx, "winning", info, info.Proofs[0].ProofBytes, func(blob []byte) (bool, error) { return post.VerifyWinning(ctx, info, blob) })
}

// ReplicaUpdate verifies the new replica of a sector that took data without
// being sealed again.
func (v *verifier) ReplicaUpdate(ctx context.Context, info proof.ReplicaUpdateInfo) (bool, error) {
	return v.once(ctx, "update", info, info.Proof, func(blob []byte) (bool, error) { return update.Verify(ctx, info, blob) })
}
