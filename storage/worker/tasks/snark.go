package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
)

// Snark makes Groth16 proofs out of vanilla ones. The methods take minutes to
// hours and stop when ctx ends; progress may be called from any goroutine.
type Snark interface {
	// Seal proves what vanilla, the result of a C1 task, proves about info. The
	// proof has 192 bytes for each partition.
	Seal(ctx context.Context, info proof.SealVerifyInfo, vanilla []byte, progress func(stage string, done, total int64)) ([]byte, error)
	// Update proves what vanilla, the result of a PR1 task, proves about info.
	Update(ctx context.Context, info proof.ReplicaUpdateInfo, vanilla []byte,
		progress func(stage string, done, total int64)) ([]byte, error)
}

// commit2 turns the vanilla proof of a sealed sector into the proof that goes
// on chain. It touches no file of the sector.
func (j *job) commit2(ctx context.Context, a api.Commit2Params) (none api.Commit2Result, err error) {
	if j.snark == nil {
		return none, errNoSnark()
	}
	if a.Info.SectorID != j.sector.ID || a.Info.SealProof != j.sector.ProofType {
		return none, &api.ErrInvalid{What: "C2 of sector " + j.String(), Reason: "its parameters speak of sector " +
			api.SectorRef{ID: a.Info.SectorID, ProofType: a.Info.SealProof}.String() + " or of another seal proof"}
	}
	vanilla, err := j.bulk(ctx, a.Vanilla)
	if err != nil {
		return none, err
	}
	j.Set("groth16", 0, 0)
	out, err := j.snark.Seal(ctx, a.Info, vanilla, j.Set)
	if err != nil {
		return none, err
	}
	want, err := sealProofSize(j.sector.ProofType)
	if err != nil {
		return none, err
	}
	return api.Commit2Result{Proof: out}, checkSize(out, want)
}

// proveUpdate2 is commit2 for an update.
func (j *job) proveUpdate2(ctx context.Context, a api.ProveUpdate2Params) (none api.ProveUpdate2Result, err error) {
	if j.snark == nil {
		return none, errNoSnark()
	}
	typ, err := updateProof(j.sector)
	if err != nil {
		return none, err
	}
	if a.Info.UpdateProofType != typ {
		return none, &api.ErrInvalid{
			What:   "PR2 of sector " + j.String(),
			Reason: fmt.Sprintf("its parameters speak of update proof %d, not %d", a.Info.UpdateProofType, typ),
		}
	}
	vanilla, err := j.bulk(ctx, a.Vanilla)
	if err != nil {
		return none, err
	}
	j.Set("groth16", 0, 0)
	out, err := j.snark.Update(ctx, a.Info, vanilla, j.Set)
	if err != nil {
		return none, err
	}
	return api.ProveUpdate2Result{Proof: out}, checkSize(out, updatePartitions(typ)*groth16Size)
}

// bulk reads a bulk result whole, which is checked at its end.
func (j *job) bulk(ctx context.Context, ref api.BlobRef) ([]byte, error) {
	f, err := j.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(make([]byte, 0, ref.Size+bytes.MinRead)) // one copy, no growing
	_, err = b.ReadFrom(f)
	return b.Bytes(), errors.Join(err, f.Close())
}

// updatePartitions is from storage-proofs-update/src/constants.rs,
// partition_count, for the sizes that are registered.
func updatePartitions(p abi.RegisteredUpdateProof) int {
	switch p {
	case abi.RegisteredUpdateProof_StackedDrg2KiBV1:
		return 1
	case abi.RegisteredUpdateProof_StackedDrg8MiBV1:
		return 4
	}
	return 16
}

func errNoSnark() error {
	return &api.ErrUnsupportedProof{
		What: "Groth16 proofs by this worker",
		Hint: "give it the proof parameters, or take its C2 and PR2 tasks away",
	}
}

// groth16Size is the length of one compressed proof in bytes.
const groth16Size = 192

// sealProofSize is the length of the proof field of a commitment: 1 partition
// up to 512 MiB, 10 from 32 GiB on (filecoin-proofs/src/constants.rs,
// POREP_PARTITIONS).
func sealProofSize(p abi.RegisteredSealProof) (int, error) {
	size, err := p.SectorSize()
	if err != nil {
		return 0, &api.ErrInvalid{What: "seal proof type", Reason: err.Error()}
	}
	if size >= 32<<30 {
		return 10 * groth16Size, nil
	}
	return groth16Size, nil
}

func checkSize(got []byte, want int) error {
	if len(got) != want {
		return fmt.Errorf("the Groth16 proof made has %d bytes instead of %d", len(got), want)
	}
	return nil
}
