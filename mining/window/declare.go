package window

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/chain/msgs"
)

// inclusion is how many epochs a declaration needs to be on chain.
const inclusion = 5

// declare looks ahead at the first deadline whose fault cutoff has not passed
// and tells the chain which of its sectors broke and which are whole again.
// Failing to do so is not fatal: the proof itself skips broken sectors.
func (s *Scheduler) declare(j *job, head *api.TipSet) {
	target := following(j.info, 2)
	if head.Height+inclusion >= target.FaultCutoff {
		target = following(j.info, 3)
	}
	if err := s.declareFor(j.life, target); err != nil && j.life.Err() == nil {
		s.deps.Log.Warn("window PoSt: declaring faults and recoveries", "deadline", target.Index, "error", err)
	}
}

// health is what the files say against what the chain says.
type health struct {
	partition         uint64
	faults, recovered []uint64
}

func (s *Scheduler) declareFor(ctx context.Context, di *dline.Info) error {
	parts, err := s.deps.Chain.StateMinerPartitions(ctx, s.cfg.Miner, di.Index, s.deps.Heads.Head().Key())
	if err != nil {
		return fmt.Errorf("partitions of deadline %d: %w", di.Index, err)
	}
	var faults miner.DeclareFaultsParams
	var recoveries miner.DeclareFaultsRecoveredParams
	for i, p := range parts {
		h, err := s.examine(ctx, uint64(i), p)
		if err != nil {
			return fmt.Errorf("partition %d: %w", i, err)
		}
		if len(h.faults) > 0 {
			faults.Faults = append(faults.Faults, miner.FaultDeclaration{Deadline: di.Index, Partition: h.partition, Sectors: bitfield.NewFromSet(h.faults)})
		}
		if len(h.recovered) > 0 {
			recoveries.Recoveries = append(recoveries.Recoveries, miner.RecoveryDeclaration{Deadline: di.Index, Partition: h.partition, Sectors: bitfield.NewFromSet(h.recovered)})
		}
	}
	if len(faults.Faults) > 0 {
		if err := s.declaration(ctx, di, "faults", builtin.MethodsMiner.DeclareFaults, &faults); err != nil {
			return err
		}
	}
	if len(recoveries.Recoveries) > 0 {
		return s.declaration(ctx, di, "recoveries", builtin.MethodsMiner.DeclareFaultsRecovered, &recoveries)
	}
	return nil
}

// examine checks the files of a partition's live sectors.
func (s *Scheduler) examine(ctx context.Context, index uint64, p api.Partition) (health, error) {
	live, err := p.LiveSectors.All(maxSectors)
	if err != nil || len(live) == 0 {
		return health{}, err
	}
	faulty, err := p.FaultySectors.AllMap(maxSectors)
	if err != nil {
		return health{}, err
	}
	recovering, err := p.RecoveringSectors.AllMap(maxSectors)
	if err != nil {
		return health{}, err
	}
	infos, err := s.sectors(ctx, live)
	if err != nil {
		return health{}, err
	}
	var refs []api.SectorRef
	for _, n := range live {
		if !recovering[n] {
			refs = append(refs, api.SectorRef{ID: abi.SectorID{Miner: s.actor, Number: abi.SectorNumber(n)}, ProofType: infos[n].SealProof})
		}
	}
	bad, err := s.deps.Prover.CheckProvable(ctx, refs)
	if err != nil {
		return health{}, fmt.Errorf("check the files of %d sectors: %w", len(refs), err)
	}
	out := health{partition: index}
	for _, r := range refs {
		n := uint64(r.ID.Number)
		reason, broken := bad[r.ID.Number]
		switch {
		case broken && !faulty[n]:
			s.deps.Log.Warn("sector cannot be proven, declaring it faulty", "sector", n, "reason", reason)
			out.faults = append(out.faults, n)
		case !broken && faulty[n]:
			s.deps.Log.Info("sector can be proven again, declaring it recovered", "sector", n)
			out.recovered = append(out.recovered, n)
		}
	}
	return out, nil
}

// declaration sends one message and waits for it. The key holds the deadline's
// opening, so that one deadline occurrence gets at most one of each kind.
func (s *Scheduler) declaration(ctx context.Context, di *dline.Info, what string, method abi.MethodNum, v cbg.CBORMarshaler) error {
	params, err := msgs.Params(v)
	if err != nil {
		return err
	}
	from, err := s.sender(ctx)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("wd%s-%s-%d", what, s.cfg.Miner, di.Open)
	c, err := s.deps.Msgs.Send(ctx, key, &api.Message{To: s.cfg.Miner, From: from, Value: big.Zero(), Method: method, Params: params})
	if err != nil {
		return fmt.Errorf("declare %s for deadline %d: %w", what, di.Index, err)
	}
	l, err := s.deps.Msgs.Wait(ctx, c)
	if err != nil {
		return fmt.Errorf("declare %s for deadline %d: %w", what, di.Index, err)
	}
	s.forget([]string{key})
	if l.Receipt.ExitCode != 0 {
		return fmt.Errorf("declare %s for deadline %d: message %s ended with exit code %d", what, di.Index, c, l.Receipt.ExitCode)
	}
	s.deps.Log.Info("declared "+what, "deadline", di.Index, "message", c)
	return nil
}
