package window

import (
	"context"
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

// errNothingProvable says that no sector of a batch could be read, and why.
type errNothingProvable struct {
	sectors int
	why     []api.SectorFault // not empty
}

// Error counts the reasons.
func (e *errNothingProvable) Error() string {
	return fmt.Sprintf("none of the %d sectors of these partitions can be proven: %s; check that their storage paths are "+
		"mounted and attached",
		e.sectors, tell(e.why))
}

// proven is a proof ready for its message.
type proven struct {
	params     miner.SubmitWindowedPoStParams
	partitions []uint64
	sectors    int // proven, without substitutes
	skipped    []abi.SectorNumber
	elapsed    time.Duration
}

// build proves a batch, in the form the network is given. Sectors that the prover
// cannot read are skipped, which the chain takes for a declaration of faults; those
// of which that may be a trouble of ours are read again as long as there is time.
// The chain checks the list with substitutes in the places of the skipped ones.
func (s *Scheduler) build(j *job, b batch, rand abi.Randomness) (proven, error) {
	started := time.Now()
	infos, err := s.infos(j.window, b)
	if err != nil {
		return proven{}, err
	}
	r := newReading(b, infos)
	if err := s.readAll(j, r, rand); err != nil {
		return proven{}, err
	}
	s.look(j.info, r)
	kept, list, ok := challenge(b, r.skip, infos)
	if !ok {
		return proven{partitions: b.indexes(), skipped: numbers(r.skip)}, &errNothingProvable{sectors: len(r.skip), why: r.faults()}
	}
	blob, err := r.blob()
	if err != nil {
		return proven{}, err
	}
	if err := s.turn(j.window); err != nil {
		return proven{}, err
	}
	defer s.turnOver()
	out, err := s.wrap(j.window, j.info, kept, r.skip, proof.WindowPoStVerifyInfo{
		Randomness: abi.PoStRandomness(rand), ChallengedSectors: list, Prover: s.actor}, blob)
	out.elapsed = time.Since(started)
	return out, err
}

// readAll reads the sectors of a batch, in passes. Only one pass runs at a time,
// so that a batch whose mount hangs does not keep others from reading.
func (s *Scheduler) readAll(j *job, r *reading, rand abi.Randomness) error {
	for wait := retryPause; ; wait = min(2*wait, maxRest) {
		if err := s.onePass(j, r, rand); err != nil {
			return err
		}
		if len(r.todo) == 0 || !s.mayRead(j) {
			return nil
		}
		s.deps.Log.Warn("window PoSt: sectors cannot be read now, reading them again while there is time",
			"deadline", j.info.Index, "sectors", len(r.todo), "first", r.why[uint64(r.todo[0].SectorNumber)])
		s.rest(j.window, wait)
	}
}

func (s *Scheduler) onePass(j *job, r *reading, rand abi.Randomness) error {
	if err := s.turn(j.window); err != nil {
		return err
	}
	defer s.turnOver()
	return s.pass(j.window, j, r, rand)
}

// turn waits until no other proof is read or made.
func (s *Scheduler) turn(ctx context.Context) error {
	select {
	case s.proving <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Scheduler) turnOver() { <-s.proving }

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
func (s *Scheduler) wrap(ctx context.Context, di *dline.Info, b batch, skip map[uint64]bool,
	stated proof.WindowPoStVerifyInfo, blob []byte) (proven, error) {
	head := s.deps.Heads.Head()
	info, err := s.deps.Chain.StateMinerInfo(ctx, s.cfg.Miner, head.Key())
	if err != nil {
		return proven{}, fmt.Errorf("PoSt type of the miner: %w", err)
	}
	commit, err := s.deps.Chain.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_PoStChainCommit, di.Challenge, nil,
		head.Key())
	if err != nil {
		return proven{}, fmt.Errorf("chain commitment at %d: %w", di.Challenge, err)
	}
	stated.Proofs = []proof.PoStProof{{PoStProof: info.WindowPoStProofType}}
	field, err := s.field(ctx, stated, blob)
	if err != nil {
		return proven{}, err
	}
	out := proven{partitions: b.indexes(), params: miner.SubmitWindowedPoStParams{
		Deadline:         di.Index,
		Proofs:           []proof.PoStProof{{PoStProof: info.WindowPoStProofType, ProofBytes: field}},
		ChainCommitEpoch: di.Challenge,
		ChainCommitRand:  commit,
	}}
	for _, p := range b {
		missing := p.skipped(skip)
		out.sectors += len(p.prove) - len(missing)
		for _, n := range missing {
			out.skipped = append(out.skipped, abi.SectorNumber(n))
		}
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
