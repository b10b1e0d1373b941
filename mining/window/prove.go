package window

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/proofs/envelope"
)

// errNothingProvable says that no sector of a batch could be read.
var errNothingProvable = errors.New("no sector of these partitions can be proven; check that their storage paths are attached")

// proven is a proof ready for its message.
type proven struct {
	params  miner.SubmitWindowedPoStParams
	sectors int // proven, without substitutes
	skipped []abi.SectorNumber
	elapsed time.Duration
}

// build proves a batch, in the form the network is given. Sectors the prover
// cannot read are skipped and the rest proven again, because the chain checks
// the list with substitutes in their places.
func (s *Scheduler) build(ctx context.Context, di *dline.Info, b batch, rand abi.Randomness) (proven, error) {
	started := time.Now()
	infos, err := s.infos(ctx, b)
	if err != nil {
		return proven{}, err
	}
	skip := map[uint64]bool{}
	for {
		kept, list, ok := challenge(b, skip, infos)
		if !ok {
			return proven{skipped: numbers(skip)}, errNothingProvable
		}
		res, err := s.deps.Prover.ProveWindow(ctx, api.WindowPoStRequest{
			Miner: s.actor, Randomness: abi.PoStRandomness(rand), Sectors: list,
		})
		if err != nil {
			return proven{}, fmt.Errorf("prove %d sectors: %w", len(list), err)
		}
		grown := false
		for _, n := range res.Skipped {
			grown = grown || !skip[uint64(n)]
			skip[uint64(n)] = true
		}
		if grown {
			continue
		}
		if len(res.Vanilla) == 0 {
			return proven{}, errors.New("the prover returned an empty proof")
		}
		out, err := s.wrap(ctx, di, kept, skip, proof.WindowPoStVerifyInfo{
			Randomness: abi.PoStRandomness(rand), ChallengedSectors: list, Prover: s.actor}, res.Vanilla)
		out.elapsed = time.Since(started)
		return out, err
	}
}

// field is what stands in the message for the proof: the Groth16 proof, or the
// name of the vanilla one, which is left with the node first.
func (s *Scheduler) field(ctx context.Context, info proof.WindowPoStVerifyInfo, blob []byte) ([]byte, error) {
	if s.deps.Snark != nil {
		field, err := s.deps.Snark.Window(ctx, info, blob)
		if err != nil {
			return nil, fmt.Errorf("groth16 proof over %d sectors: %w", len(info.ChallengedSectors), err)
		}
		return field, nil
	}
	field, c := envelope.Wrap(blob)
	if err := s.deps.Chain.ChainPutObj(ctx, api.ObjBlock{Cid: c, Data: blob}); err != nil {
		return nil, fmt.Errorf("hand the window proof to the node: %w", err)
	}
	return field, nil
}

// wrap makes the parameters of SubmitWindowedPoSt.
func (s *Scheduler) wrap(ctx context.Context, di *dline.Info, b batch, skip map[uint64]bool, stated proof.WindowPoStVerifyInfo, blob []byte) (proven, error) {
	head := s.deps.Heads.Head()
	info, err := s.deps.Chain.StateMinerInfo(ctx, s.cfg.Miner, head.Key())
	if err != nil {
		return proven{}, fmt.Errorf("PoSt type of the miner: %w", err)
	}
	commit, err := s.deps.Chain.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_PoStChainCommit, di.Challenge, nil, head.Key())
	if err != nil {
		return proven{}, fmt.Errorf("chain commitment at %d: %w", di.Challenge, err)
	}
	stated.Proofs = []proof.PoStProof{{PoStProof: info.WindowPoStProofType}}
	field, err := s.field(ctx, stated, blob)
	if err != nil {
		return proven{}, err
	}
	out := proven{skipped: numbers(skip), params: miner.SubmitWindowedPoStParams{
		Deadline:         di.Index,
		Proofs:           []proof.PoStProof{{PoStProof: info.WindowPoStProofType, ProofBytes: field}},
		ChainCommitEpoch: di.Challenge,
		ChainCommitRand:  commit,
	}}
	for _, p := range b {
		missing := p.skipped(skip)
		out.sectors += len(p.prove) - len(missing)
		out.params.Partitions = append(out.params.Partitions, miner.PoStPartition{Index: p.index, Skipped: bitfield.NewFromSet(missing)})
	}
	return out, nil
}

func numbers(set map[uint64]bool) []abi.SectorNumber {
	var out []abi.SectorNumber
	for n := range set {
		out = append(out, abi.SectorNumber(n))
	}
	slices.Sort(out)
	return out
}
