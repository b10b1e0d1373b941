package sealing

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/commp"
)

// updateReplica has the data encoded into the sector.
func (s *Sealing) updateReplica(ctx context.Context, l *lane, r record) (event, error) {
	if _, err := s.inTime(ctx, r); err != nil {
		return event{}, err
	}
	encode := r.updateJob(jobUpdate)
	out, err := run(ctx, s, l, r, keyed[api.UpdateReplicaParams, api.UpdateReplicaResult]{
		task:   api.UpdateReplica,
		job:    encode,
		rest:   fmt.Sprint(r.Update.Round),
		params: api.UpdateReplicaParams{Pieces: r.infos()},
	})
	if err != nil {
		return event{}, s.dataFailure(ctx, l, r, encode, asFailure(err))
	}
	commR, err := cid.Decode(string(out.SealedCID))
	if err != nil {
		return event{}, failed(encode, "RU gave the sealed CID %q: %w", out.SealedCID, err)
	}
	commD, err := cid.Decode(string(out.UnsealedCID))
	if err != nil {
		return event{}, failed(encode, "RU gave the unsealed CID %q: %w", out.UnsealedCID, err)
	}
	want, err := commp.CommD(r.ProofType, r.infos())
	if err != nil {
		return event{}, fatal("the pieces of the sector have no data commitment: %w", err)
	}
	if commD != want {
		err := failed(encode, "the encoded data has commitment %s, the pieces have %s: the unsealed file is damaged", commD, want)
		return event{}, s.dataFailure(ctx, l, r, encode, err)
	}
	return event{
		Kind:      evUpdated,
		CommD:     &commD,
		CommR:     &commR,
		UpdateOut: out.Commitments,
		Reason:    commR.String(),
	}, nil
}

// proveUpdate has the vanilla proof made and turned into the proof field.
func (s *Sealing) proveUpdate(ctx context.Context, l *lane, r record) (event, error) {
	if _, err := s.inTime(ctx, r); err != nil {
		return event{}, err
	}
	pr1 := r.updateJob(jobPR1)
	// The key names the RU run too: encoding again makes this new.
	rest := fmt.Sprintf("%d/%d", r.Update.Round, r.Attempts[r.updateJob(jobUpdate)])
	out, err := run(ctx, s, l, r, keyed[api.ProveUpdate1Params, api.ProveUpdate1Result]{
		task:   api.ProveUpdate1,
		job:    pr1,
		rest:   rest,
		params: api.ProveUpdate1Params{Commitments: r.Update.Commitments},
	})
	if err != nil {
		return event{}, asFailure(err)
	}
	if s.cfg.Groth16 {
		return s.updateGroth16(ctx, l, r, fmt.Sprintf("%s/%d", rest, r.Attempts[pr1]), out.Vanilla)
	}
	field, name, err := s.wrap(ctx, r, out.Vanilla)
	return event{Kind: evUpdateProved, Proof: field, Reason: name}, err
}

func (s *Sealing) updateGroth16(ctx context.Context, l *lane, r record, rest string, vanilla api.BlobRef) (event, error) {
	info, err := updateInfo(r)
	if err != nil {
		return event{}, err
	}
	pr2 := r.updateJob(jobPR2)
	out, err := run(ctx, s, l, r, keyed[api.ProveUpdate2Params, api.ProveUpdate2Result]{
		task:   api.ProveUpdate2,
		job:    pr2,
		rest:   rest,
		params: api.ProveUpdate2Params{Info: info, Vanilla: vanilla},
	})
	if err != nil {
		return event{}, asFailure(err)
	}
	if s.deps.Verify != nil {
		info.Proof = out.Proof
		switch ok, err := s.deps.Verify.Update(ctx, info); {
		case err != nil:
			return event{}, fmt.Errorf("check the update proof of %s: %w", s.name(r.Number), err)
		case !ok:
			return event{}, failed(pr2, "the Groth16 proof that was made does not verify; it was not sent")
		}
	}
	return event{Kind: evUpdateProved, Proof: out.Proof, Reason: fmt.Sprintf("Groth16, %d bytes", len(out.Proof))}, nil
}

// updateInfo is what the miner actor hands to the verifier of the update, but
// for the proof (actors miner/src/lib.rs, prove_replica_updates_inner).
func updateInfo(r record) (proof.ReplicaUpdateInfo, error) {
	typ, err := r.ProofType.RegisteredUpdateProof()
	if err != nil {
		return proof.ReplicaUpdateInfo{}, fatal("no update proof goes with seal proof %d: %w", r.ProofType, err)
	}
	return proof.ReplicaUpdateInfo{UpdateProofType: typ, OldSealedSectorCID: *r.CommR,
		NewSealedSectorCID: *r.Update.CommR, NewUnsealedSectorCID: *r.Update.CommD}, nil
}

// keepUpdate runs after the update has landed, so that all that a new proof
// would take is there until then.
func (s *Sealing) keepUpdate(ctx context.Context, l *lane, r record) (event, error) {
	if err := s.updateFiles(ctx, l, r, api.UpdateKeep); err != nil {
		return event{}, err
	}
	return event{Kind: evUpdateKept}, nil
}

func (s *Sealing) releaseKey(ctx context.Context, l *lane, r record) (event, error) {
	if err := s.updateFiles(ctx, l, r, api.UpdateReleaseKey); err != nil {
		return event{}, err
	}
	return event{Kind: evKeyReleased}, nil
}

func (s *Sealing) updateFiles(ctx context.Context, l *lane, r record, do api.UpdateFiles) error {
	rest := fmt.Sprintf("%d/%s", r.Update.Round, do)
	if do == api.UpdateKeep { // what is kept may have been encoded anew
		rest += fmt.Sprintf("/%d", r.Attempts[r.updateJob(jobUpdate)])
	}
	_, err := run(ctx, s, l, r, keyed[api.FinalizeUpdateParams, api.Nothing]{
		task:   api.FinalizeUpdate,
		job:    job{kind: jobUpdateFiles, round: r.Update.Round, files: do},
		rest:   rest,
		params: api.FinalizeUpdateParams{Do: do},
	})
	return asFailure(err)
}

// cancelUpdate ends the work of an update that is given up, so that its workers
// stop and the files are free.
func (s *Sealing) cancelUpdate(ctx context.Context, r record) {
	for _, id := range r.Tasks {
		st, err := s.deps.Storage.TaskGet(ctx, id)
		if err != nil || st.Final() || st.Spec.Type == api.TaskFinalizeUpdate {
			continue
		}
		if err := s.deps.Storage.TaskCancel(ctx, id); err != nil {
			s.log.Warn("a task of an update that is given up could not be cancelled", "sector", s.name(r.Number), "task", id, "err", err)
		}
	}
}

// abort drops what the update made, unless it turns out to have landed.
func (s *Sealing) abort(ctx context.Context, l *lane, r record) (event, error) {
	o, err := s.look(ctx, r.Number, nil)
	switch {
	case err != nil:
		return event{}, err
	case o.updated(r):
		return updateLanded(o), nil
	}
	s.cancelUpdate(ctx, r)
	if err := s.updateFiles(ctx, l, r, api.UpdateAbort); err != nil {
		return event{}, err
	}
	return event{Kind: evAborted}, nil
}

// updateActive waits until nobody can ask for the replica from before any more:
// winning PoSt draws its sectors from the state of that many epochs ago (lotus
// chain/actors/policy, GetWinningPoStSectorSetLookback).
func (s *Sealing) updateActive(ctx context.Context, r record) (event, error) {
	epoch := r.Update.Landed + s.cfg.UpdateConfidence
	if ts, err := s.atHeight(ctx, epoch); ts == nil || err != nil {
		return event{}, err
	}
	o, err := s.look(ctx, r.Number, nil)
	switch {
	case err != nil:
		return event{}, err
	case o.sector != nil && !o.updated(r):
		return event{}, failed(r.updateJob(jobSendUpdate), "the chain took the update of epoch %d back", r.Update.Landed)
	}
	return event{Kind: evUpdateSettled, Reason: fmt.Sprintf("epoch %d", epoch)}, nil
}

// updated tells whether the chain has the replica with the data.
func (o onChain) updated(r record) bool {
	return o.sector != nil && r.Update != nil && r.Update.CommR != nil && o.sector.SealedCID == *r.Update.CommR
}

func updateLanded(o onChain) event {
	return event{Kind: evUpdateLanded, Epoch: o.head.Height, Reason: fmt.Sprintf("seen at epoch %d", o.head.Height)}
}

// updateRefusal says why the update can never be taken; empty where it may.
func updateRefusal(r record, o onChain) string {
	if o.sector == nil {
		return "the sector is no longer on chain"
	}
	if o.sector.SealedCID != *r.CommR {
		return "the chain holds another replica: " + o.sector.SealedCID.String()
	}
	start, end, ok := r.dealSpan()
	switch {
	case !ok:
		return "no deal is left in it"
	case start <= o.head.Height:
		return fmt.Sprintf("a deal starts at epoch %d, it is %d", start, o.head.Height)
	case end > o.sector.Expiration:
		return fmt.Sprintf("a deal ends at epoch %d, the sector expires at %d", end, o.sector.Expiration)
	}
	return ""
}
