package window

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/dline"

	"quarry/api"
)

// recoverEarly has what is faulty on chain and whole again declared recovered as
// soon as it is, for every deadline of the coming period: a chain that was silent,
// or whose heads lie far apart, may pass over the epochs just before a deadline in
// which its turn would be. One pass at a time, once for each deadline that begins.
func (s *Scheduler) recoverEarly(ctx context.Context, cur *dline.Info) {
	if cur.Open == s.earlyAt || !s.earlyBusy.CompareAndSwap(false, true) {
		return
	}
	s.earlyAt = cur.Open
	s.spawn("declaring recoveries ahead of time", func() {
		defer s.earlyBusy.Store(false)
		for n := uint64(2); n < cur.WPoStPeriodDeadlines; n++ { // the next one has its turn
			if err := s.recoverOf(ctx, following(cur, n)); err != nil {
				s.repeated(err, "window PoSt: declaring recoveries ahead of time, will repeat", "deadline", following(cur, n).Index)
				return
			}
		}
	})
}

// recoverOf declares the recoveries of one deadline.
func (s *Scheduler) recoverOf(ctx context.Context, di *dline.Info) error {
	head := s.deps.Heads.Head()
	if head.Height+inclusion >= di.FaultCutoff {
		return nil
	}
	parts, err := s.deps.Chain.StateMinerPartitions(ctx, s.cfg.Miner, di.Index, head.Key())
	if err != nil {
		return fmt.Errorf("partitions of deadline %d: %w", di.Index, err)
	}
	h := &health{healthy: map[uint64]bool{}}
	for i, p := range parts {
		faulty, err := onlyFaulty(p)
		if err != nil {
			return fmt.Errorf("partition %d of deadline %d: %w", i, di.Index, err)
		}
		if err := s.examine(ctx, uint64(i), faulty, h); err != nil {
			return fmt.Errorf("partition %d of deadline %d: %w", i, di.Index, err)
		}
	}
	if h.checked == 0 {
		return nil
	}
	out, err := s.recoverable(ctx, di, h)
	if err != nil || len(out.Recoveries) == 0 {
		return err
	}
	return s.declaration(ctx, di, "recoveries", builtin.MethodsMiner.DeclareFaultsRecovered, &out)
}

// onlyFaulty is a partition as if it held nothing but its faulty sectors of which
// no recovery is declared.
func onlyFaulty(p api.Partition) (api.Partition, error) {
	left, err := bitfield.SubtractBitField(p.FaultySectors, p.RecoveringSectors)
	if err != nil {
		return p, err
	}
	p.LiveSectors, err = bitfield.IntersectBitField(p.LiveSectors, left)
	return p, err
}
