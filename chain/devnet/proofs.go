package devnet

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/filecoin-project/go-state-types/proof"

	"quarry/chain/fvm"
	"quarry/proofs/circuit"
	"quarry/proofs/envelope"
	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/proofs/snark"
	"quarry/proofs/update"
)

// Keys finds verifying keys of Groth16 circuits; *paramcache.Cache is one.
type Keys interface {
	snark.Keys
	// Has tells whether the key is there, without reading it.
	Has(name string) bool
}

// verifier checks proof fields of both forms. An envelope names a vanilla proof
// in the chain's store, which is verified completely; anything else is taken for
// a Groth16 proof, where the node has keys. Nothing is accepted unverified.
type verifier struct {
	blocks *blocks
	keys   Keys // nil: vanilla proofs only
	log    *slog.Logger
	mu     sync.Mutex
	known  map[[32]byte]bool // results by input; a message runs several times
}

// maxKnown bounds the results that are remembered; beyond it all are forgotten.
const maxKnown = 10_000

var _ fvm.ProofVerifier = (*verifier)(nil)

func newVerifier(b *blocks, keys Keys, log *slog.Logger) *verifier {
	return &verifier{blocks: b, keys: keys, log: log, known: map[[32]byte]bool{}}
}

// claim is a proof to be decided: what is claimed, and how to check each form.
type claim struct {
	kind    string
	info    any // with the proof in it
	field   []byte
	vanilla func(blob []byte) (bool, error)
	groth16 func() (bool, error)
}

// once decides a claim, unless the answer is known. A missing blob or key is not
// remembered: it may arrive later.
func (v *verifier) once(ctx context.Context, c claim) (bool, error) {
	raw, err := json.Marshal(c.info)
	if err != nil {
		return false, fmt.Errorf("%s proof: encode input: %w", c.kind, err)
	}
	key := sha256.Sum256(append([]byte(c.kind), raw...))
	v.mu.Lock()
	res, seen := v.known[key]
	v.mu.Unlock()
	if seen {
		return res, nil
	}
	res, final, err := v.decide(ctx, c)
	if err != nil {
		v.log.Warn("proof refused", "kind", c.kind, "err", err)
		return false, err
	}
	if !final {
		return false, nil
	}
	if !res {
		v.log.Warn("proof refused: it does not verify", "kind", c.kind, "bytes", len(c.field))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxKnown {
		clear(v.known)
	}
	v.known[key] = res
	return res, nil
}

// decide tells the forms apart by the envelope's magic and length. final is false
// where the answer may change without the input changing.
func (v *verifier) decide(ctx context.Context, c claim) (ok, final bool, err error) {
	named, isEnvelope := envelope.Parse(c.field)
	switch {
	case isEnvelope:
		blob, err := v.blocks.Get(ctx, named)
		if errors.Is(err, errNoBlock) {
			v.log.Warn("proof refused: the vanilla proof was not put on the node", "kind", c.kind, "blob", named.String())
			return false, false, nil
		}
		if err != nil {
			return false, false, fmt.Errorf("%s proof: %w", c.kind, err)
		}
		ok, err = c.vanilla(blob)
		return ok, err == nil, err
	case v.keys == nil:
		v.log.Warn("proof refused: this node takes vanilla proofs only", "kind", c.kind, "bytes", len(c.field))
		return false, true, nil
	default:
		ok, err = c.groth16()
		return ok, err == nil, err
	}
}

// Seal verifies one sealed sector.
func (v *verifier) Seal(ctx context.Context, info proof.SealVerifyInfo) (bool, error) {
	return v.once(ctx, claim{"seal", info, info.Proof,
		func(blob []byte) (bool, error) { return porep.Verify(ctx, info, blob) },
		func() (bool, error) { return snark.VerifySeal(ctx, v.keys, info) }})
}

// Aggregate verifies one proof for several sectors. Vanilla proofs do not
// aggregate.
func (v *verifier) Aggregate(ctx context.Context, info proof.AggregateSealVerifyProofAndInfos) (bool, error) {
	return v.once(ctx, claim{"aggregate", info, info.Proof,
		func([]byte) (bool, error) { return false, nil },
		func() (bool, error) { return snark.VerifyAggregate(ctx, v.keys, info) }})
}

// WindowPoSt verifies one window proof over all its sectors.
func (v *verifier) WindowPoSt(ctx context.Context, info proof.WindowPoStVerifyInfo) (bool, error) {
	if len(info.Proofs) != 1 {
		return false, nil
	}
	return v.once(ctx, claim{"window", info, info.Proofs[0].ProofBytes,
		func(blob []byte) (bool, error) { return post.VerifyWindow(ctx, info, blob) },
		func() (bool, error) { return snark.VerifyWindow(ctx, v.keys, info) }})
}

// Winning verifies the proof in a block header.
func (v *verifier) Winning(ctx context.Context, info proof.WinningPoStVerifyInfo) (bool, error) {
	if len(info.Proofs) != 1 {
		return false, nil
	}
	return v.once(ctx, claim{"winning", info, info.Proofs[0].ProofBytes,
		func(blob []byte) (bool, error) { return post.VerifyWinning(ctx, info, blob) },
		func() (bool, error) { return snark.VerifyWinning(ctx, v.keys, info) }})
}

// ReplicaUpdate verifies the new replica of a sector that took data without
// being sealed again.
func (v *verifier) ReplicaUpdate(ctx context.Context, info proof.ReplicaUpdateInfo) (bool, error) {
	return v.once(ctx, claim{"update", info, info.Proof,
		func(blob []byte) (bool, error) { return update.Verify(ctx, info, blob) },
		func() (bool, error) { return snark.VerifyUpdate(ctx, v.keys, info) }})
}

// ProofKinds names the forms of proof this node can decide, for the sectors of
// this network.
func (n *Node) ProofKinds() []string {
	kinds := []string{"vanilla"}
	if n.keys == nil {
		return kinds
	}
	name, err := circuit.PoRepName(n.params.SealProof)
	if err == nil && n.keys.Has(name) {
		kinds = append(kinds, "groth16")
	}
	return kinds
}
