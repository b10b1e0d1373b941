package sealing

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/proofs/envelope"
)

// prove has the vanilla proof made and turned into the proof field of the
// commitment. Both tasks keep their results under their keys, so a visit that
// is repeated picks up what is there.
func (s *Sealing) prove(ctx context.Context, l *lane, r record) (event, error) {
	out, err := run(ctx, s, l, r, keyed[api.Commit1Params, api.Commit1Result]{
		task:   api.Commit1,
		job:    job{kind: jobC1},
		rest:   fmt.Sprintf("%x", r.Seed),
		params: api.Commit1Params{Ticket: r.Ticket, Seed: r.Seed, Commitments: r.Commitments},
		waits:  func(ctx context.Context) error { return s.filesLost(ctx, l, r, api.FileCache, api.FileSealed) },
	})
	if err != nil {
		return event{}, s.proofFailure(ctx, r, asFailure(err))
	}
	if s.cfg.Groth16 {
		return s.groth16(ctx, l, r, out.Vanilla)
	}
	field, name, err := s.wrap(ctx, r, out.Vanilla)
	return event{Kind: evProved, Proof: field, Reason: name}, err
}

// wrap puts a vanilla proof on the node, where the proof field of the message
// will point.
func (s *Sealing) wrap(ctx context.Context, r record, ref api.BlobRef) (field []byte, name string, err error) {
	vanilla, err := s.blob(ctx, ref)
	if err != nil {
		return nil, "", fmt.Errorf("vanilla proof of %s: %w", s.name(r.Number), err)
	}
	field, c := envelope.Wrap(vanilla)
	if err := s.deps.Chain.ChainPutObj(ctx, api.ObjBlock{Cid: c, Data: vanilla}); err != nil {
		return nil, "", fmt.Errorf("put the proof of %s on the full node: %w", s.name(r.Number), err)
	}
	return field, c.String(), nil
}

// blob reads a bulk result whole.
func (s *Sealing) blob(ctx context.Context, ref api.BlobRef) ([]byte, error) {
	f, err := s.deps.Storage.BlobOpen(ctx, ref)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

// groth16 has a worker make the short proof. Its key names the vanilla proof
// that it starts from.
func (s *Sealing) groth16(ctx context.Context, l *lane, r record, vanilla api.BlobRef) (event, error) {
	info := s.sealInfo(r)
	c2 := job{kind: jobC2}
	out, err := run(ctx, s, l, r, keyed[api.Commit2Params, api.Commit2Result]{
		task:   api.Commit2,
		job:    c2,
		rest:   fmt.Sprintf("%x/%d", r.Seed, r.Attempts[job{kind: jobC1}]),
		params: api.Commit2Params{Info: info, Vanilla: vanilla},
	})
	if err != nil {
		return event{}, asFailure(err)
	}
	if s.deps.Verify != nil {
		info.Proof = out.Proof
		switch ok, err := s.deps.Verify.Seal(ctx, info); {
		case err != nil:
			return event{}, fmt.Errorf("check the proof of %s: %w", s.name(r.Number), err)
		case !ok:
			return event{}, failed(c2, "the Groth16 proof that was made does not verify; it was not sent")
		}
	}
	return event{Kind: evProved, Proof: out.Proof, Reason: fmt.Sprintf("Groth16, %d bytes", len(out.Proof))}, nil
}

// sealInfo is what the miner actor hands to the verifier of the seal, but for
// the proof (actors miner/src/lib.rs, get_verify_info).
func (s *Sealing) sealInfo(r record) proof.SealVerifyInfo {
	return proof.SealVerifyInfo{
		SealProof:             r.ProofType,
		SectorID:              s.id(r.Number),
		Randomness:            abi.SealRandomness(r.Ticket),
		InteractiveRandomness: abi.InteractiveSealRandomness(r.Seed),
		SealedCID:             *r.CommR,
		UnsealedCID:           *r.CommD,
	}
}
