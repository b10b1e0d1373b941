package sealing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/update"
)

// update does RU and PR1 for real.
func (s *benchSector) update(ctx context.Context, spec api.TaskSpec) (any, error) {
	typ, err := spec.Sector.ProofType.RegisteredUpdateProof()
	if err != nil {
		return nil, err
	}
	old := update.Replica{Sealed: s.sealed, Cache: s.cache}
	if spec.Type == api.TaskUpdate {
		var p api.UpdateReplicaParams
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		s.updated, s.updateCache = poreptest.NewFile(int64(len(s.unsealed))), poreptest.NewFiles()
		c, err := update.Encode(ctx, typ, update.EncodeTask{
			Old:    old,
			Data:   bytes.NewReader(s.unsealed),
			Pieces: p.Pieces,
			Sealed: s.updated,
			Cache:  s.updateCache,
		}, nil)
		if err != nil {
			return nil, err
		}
		raw, err := json.Marshal(c)
		return api.UpdateReplicaResult{SealedCID: api.CidString(c.SealedCID().String()),
			UnsealedCID: api.CidString(c.UnsealedCID().String()), Commitments: api.UpdateCommitments{RawMessage: raw}}, err
	}
	var p api.ProveUpdate1Params
	var c update.Commitments
	if err := errors.Join(json.Unmarshal(spec.Params, &p), json.Unmarshal(p.Commitments.RawMessage, &c)); err != nil {
		return nil, err
	}
	blob, err := update.Prove(ctx, typ, c, old, update.Replica{Sealed: s.updated, Cache: s.updateCache})
	return api.ProveUpdate1Result{Vanilla: putBulk(blob)}, err
}

// verifyUpdate is the proof system call of the miner actor.
func verifyUpdate(old, fresh, data cid.Cid, blob []byte) error {
	ok, err := update.Verify(context.Background(), proof.ReplicaUpdateInfo{UpdateProofType: abi.RegisteredUpdateProof_StackedDrg2KiBV1,
		OldSealedSectorCID: old, NewSealedSectorCID: fresh, NewUnsealedSectorCID: data}, blob)
	if err == nil && !ok {
		err = errors.New("the update proof is wrong")
	}
	return err
}

// TestRealUpdate seals a 2 KiB sector of zeros, puts a deal into it, and has the
// chain verify both proofs.
func TestRealUpdate(t *testing.T) {
	w := newWorld()
	b := &bench{data: map[string][]byte{}, sectors: map[abi.SectorID]*benchSector{}}
	w.computeWith, w.verifyWith, w.updateWith = b.compute, verify, verifyUpdate
	w.proof = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	cfg := testConfig()
	cfg.ProofType = w.proof
	s := open(t, w, memStore(), cfg)
	start(t, s)
	n := marked(t, w, s)
	payload := bytes.Repeat([]byte("snap"), 200)
	c, err := commp.Sum(bg, bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	r := updatePiece(t, w, "deal", c.PaddedSize)
	r.Piece.PieceCID, r.Data.Size = c.CID, uint64(len(payload))
	b.data[r.Data.URL] = payload
	if at, err := s.SectorAddPiece(bg, r); err != nil || at.Sector.Number != n {
		t.Fatal(at, err)
	}
	info := untilUpdated(t, s, n)
	if len(w.updates) != 1 || info.Retries != 0 || *info.UpdateUnsealed == *info.CommD {
		t.Errorf("%d updates, sector %+v, refused: %v", len(w.updates), info, w.faults)
	}
}
