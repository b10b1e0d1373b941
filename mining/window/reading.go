package window

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/proofs/post"
)

// maxPass is how long one pass over the sectors of a batch may take, on the wall
// clock, whatever the deadline leaves: between passes the head is looked at.
const maxPass = 2 * time.Minute

// maxRest is the longest pause between passes.
const maxRest = 30 * time.Second

// reading is what was read of a batch so far. Sectors that may come back are read
// again in the next pass, the others are not: the challenges of a sector do not
// depend on the rest, so the proofs of several passes are joined.
type reading struct {
	batch batch
	infos map[uint64]*miner.SectorOnChainInfo
	blobs [][]byte
	todo  []proof.SectorInfo
	skip  map[uint64]bool // cannot be proven as things are
	why   map[uint64]api.SectorFault
}

func newReading(b batch, infos map[uint64]*miner.SectorOnChainInfo) *reading {
	r := &reading{batch: b, infos: infos, skip: map[uint64]bool{}, why: map[uint64]api.SectorFault{}}
	for _, p := range b {
		for _, n := range p.prove {
			one := proof.SectorInfo{SealProof: infos[n].SealProof, SectorNumber: abi.SectorNumber(n), SealedCID: infos[n].SealedCID}
			r.todo = append(r.todo, one)
		}
	}
	return r
}

// pass reads what is not read yet, once.
func (s *Scheduler) pass(ctx context.Context, j *job, r *reading, rand abi.Randomness) error {
	res, err := s.deps.Prover.ProveWindow(ctx, api.WindowPoStRequest{
		Miner:      s.actor,
		Randomness: abi.PoStRandomness(rand),
		Sectors:    r.todo,
		Limit:      s.readLimit(j),
	})
	if err != nil {
		return fmt.Errorf("prove %d sectors: %w", len(r.todo), err)
	}
	return r.take(res)
}

// take keeps the result of a pass.
func (r *reading) take(res api.WindowPoStResult) error {
	if len(res.Vanilla) == 0 && len(res.Skipped) < len(r.todo) {
		return fmt.Errorf("the prover returned an empty proof and skipped %d of %d sectors", len(res.Skipped), len(r.todo))
	}
	failed := map[abi.SectorNumber]api.SectorFault{}
	for _, f := range res.Skipped {
		failed[f.Sector] = f
	}
	r.blobs = append(r.blobs, res.Vanilla)
	var todo []proof.SectorInfo
	for _, info := range r.todo {
		n := uint64(info.SectorNumber)
		f, bad := failed[info.SectorNumber]
		if !bad {
			delete(r.skip, n)
			delete(r.why, n)
			continue
		}
		r.skip[n], r.why[n] = true, f
		if !f.Reason.Certain() {
			todo = append(todo, info)
		}
	}
	r.todo = todo
	return nil
}

// blob is the proof over all that was read.
func (r *reading) blob() ([]byte, error) {
	for _, info := range r.infos {
		return post.JoinWindow(info.SealProof, r.blobs...)
	}
	return nil, nil
}

// faults lists why sectors were left out, ascending.
func (r *reading) faults() []api.SectorFault {
	out := make([]api.SectorFault, 0, len(r.why))
	for _, n := range numbers(r.skip) {
		out = append(out, r.why[uint64(n)])
	}
	return out
}

// readUntil is the epoch until which sectors that may come back are read again.
// Then there is a proof of what there is: it still has to be made, sent and
// included, and a Groth16 proof takes longer than all the rest.
func (s *Scheduler) readUntil(j *job) abi.ChainEpoch {
	if s.deps.Snark != nil {
		return j.info.Open
	}
	return j.info.Open + j.info.WPoStChallengeWindow/3
}

// mayRead tells whether there is time for another pass.
func (s *Scheduler) mayRead(j *job) bool { return s.deps.Heads.Head().Height < s.readUntil(j) }

// readLimit is the time for a pass that begins now: what the deadline leaves at
// the pace of the epochs, but at least the share of one epoch in three.
func (s *Scheduler) readLimit(j *job) time.Duration {
	epoch := s.pace.epoch()
	if epoch == 0 {
		return maxPass
	}
	left := max(s.readUntil(j)-s.deps.Heads.Head().Height, j.info.WPoStChallengeWindow/6, 1)
	return min(time.Duration(left)*epoch, maxPass)
}

// rest waits for the next head or a pause, whichever is first.
func (s *Scheduler) rest(ctx context.Context, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, _ = s.deps.Heads.WaitHeight(ctx, s.deps.Heads.Head().Height+1) // either will do
}

// without is the batch without the partitions that were proven.
func (b batch) without(done []uint64) batch {
	return slices.DeleteFunc(slices.Clone(b), func(p part) bool { return slices.Contains(done, p.index) })
}
