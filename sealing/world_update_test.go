package sealing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/ipfs/go-cid"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/envelope"
)

// oldPledge is what a sector was sealed with in the world.
const oldPledge = 1000

func (w *world) proving() *dline.Info {
	start := w.height - w.height%2880
	return dline.NewInfo(start, uint64(w.height%2880/60), w.height, 48, 2880, 60, 20, 70)
}

func (w *world) StateMinerProvingDeadline(ctx context.Context, _ address.Address, _ api.TipSetKey) (*dline.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.proving(), w.reach(ctx, "StateMinerProvingDeadline")
}

func (w *world) StateSectorPartition(ctx context.Context, _ address.Address, _ abi.SectorNumber,
	_ api.TipSetKey) (*api.SectorLocation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &api.SectorLocation{Deadline: w.deadline, Partition: 1}, w.reach(ctx, "StateSectorPartition")
}

func (w *world) StateMinerPartitions(ctx context.Context, _ address.Address, deadline uint64, _ api.TipSetKey) ([]api.Partition, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	active := bitfield.New()
	if w.inactive > 0 {
		w.inactive--
	} else {
		for n := range w.sectors {
			active.Set(uint64(n))
		}
	}
	if deadline != w.deadline {
		return nil, errors.New("another deadline")
	}
	return []api.Partition{{ActiveSectors: bitfield.New()}, {ActiveSectors: active}}, w.reach(ctx, "StateMinerPartitions")
}

// proveUpdate does what the miner actor does with a replica update.
func (w *world) proveUpdate(p miner.ProveReplicaUpdates3Params, value abi.TokenAmount) error {
	u := p.SectorUpdates[0]
	sector := w.sectors[u.Sector]
	next := dline.NewInfo(w.proving().PeriodStart, u.Deadline, w.height, 48, 2880, 60, 20, 70).NextNotElapsed()
	typ, _ := w.proof.RegisteredUpdateProof()
	switch {
	case sector == nil || sector.SectorKeyCID != nil:
		return errors.New("no such sector, or updated before")
	case u.Deadline != w.deadline || u.Partition != 1:
		return errors.New("the sector is elsewhere")
	case w.height >= next.Open-60:
		return errors.New("deadline is immutable")
	case p.UpdateProofsType != typ || len(p.AggregateProof) != 0 || !p.RequireActivationSuccess || !p.RequireNotificationSuccess:
		return errors.New("form of the message")
	case value.LessThan(big.NewInt(100)):
		return errors.New("pledge")
	}
	var infos []abi.PieceInfo
	for _, q := range u.Pieces {
		infos = append(infos, abi.PieceInfo{PieceCID: q.CID, Size: q.Size})
	}
	data, err := commp.CommD(w.proof, infos)
	if err != nil {
		return err
	}
	if err := w.checkUpdateProof(p.SectorProofs[0], sector.SealedCID, u.NewSealedCID, data); err != nil {
		return err
	}
	old := sector.SealedCID
	w.updates = append(w.updates, p)
	w.sectors[u.Sector] = &miner.SectorOnChainInfo{
		SectorNumber:  u.Sector,
		SealedCID:     u.NewSealedCID,
		SectorKeyCID:  &old,
		Activation:    sector.Activation,
		Expiration:    sector.Expiration,
		InitialPledge: big.NewInt(oldPledge),
	}
	return nil
}

func (w *world) checkUpdateProof(field []byte, old, fresh, data cid.Cid) error {
	if w.updateWith != nil {
		blob, ok := envelope.Parse(field)
		if !ok {
			return errors.New("no envelope")
		}
		return w.updateWith(old, fresh, data, w.blobs[blob])
	}
	vanilla := fmt.Appendf(nil, "update to %s", fresh)
	if fresh != fakeUpdate(data) {
		return errors.New("commitments do not belong together")
	}
	if w.groth16 {
		if !bytes.Equal(field, fakeGroth16(vanilla)) {
			return errors.New("not the Groth16 proof of this update")
		}
		return nil
	}
	blob, ok := envelope.Parse(field)
	if !ok || !bytes.Equal(w.blobs[blob], vanilla) {
		return errors.New("proof blob is not on the node or wrong")
	}
	return nil
}

// fakeUpdate is the commitment of an updated replica with the data.
func fakeUpdate(data cid.Cid) cid.Cid {
	h := blake2b.Sum256([]byte("updated with " + data.String()))
	h[31] &= 0x3f
	c, err := commcid.ReplicaCommitmentV1ToCID(h[:])
	if err != nil {
		panic(err)
	}
	return c
}

// computeUpdate does the tasks of an update.
func computeUpdate(spec api.TaskSpec) (any, error) {
	switch spec.Type {
	case api.TaskUpdate:
		var p api.UpdateReplicaParams
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		d, err := commp.CommD(spec.Sector.ProofType, p.Pieces)
		if err != nil {
			return nil, err
		}
		r := fakeUpdate(d)
		return api.UpdateReplicaResult{SealedCID: api.CidString(r.String()), UnsealedCID: api.CidString(d.String()),
			Commitments: api.UpdateCommitments{RawMessage: fmt.Appendf(nil, "%q", r)}}, nil
	case api.TaskProveUpdate1:
		var p api.ProveUpdate1Params
		var to string
		if err := errors.Join(json.Unmarshal(spec.Params, &p), json.Unmarshal(p.Commitments.RawMessage, &to)); err != nil {
			return nil, err
		}
		return api.ProveUpdate1Result{Vanilla: putBulk(fmt.Appendf(nil, "update to %s", to))}, nil
	case api.TaskProveUpdate2:
		var p api.ProveUpdate2Params
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		if !p.Info.OldSealedSectorCID.Defined() || p.Info.NewSealedSectorCID != fakeUpdate(p.Info.NewUnsealedSectorCID) {
			return nil, fmt.Errorf("PR2 of %+v", p.Info)
		}
		return api.ProveUpdate2Result{Proof: fakeGroth16(getBulk(p.Vanilla))}, nil
	}
	var p api.FinalizeUpdateParams
	return struct{}{}, json.Unmarshal(spec.Params, &p)
}
