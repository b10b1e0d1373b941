package window

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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

// declaring is the work of telling the chain of faults and recoveries before one
// deadline occurrence.
type declaring struct {
	info *dline.Info
	end  context.CancelCauseFunc
}

var errCutoff = errors.New("it is too late to declare anything for the deadline")

// declareAhead begins with the first deadline whose fault cutoff is still ahead,
// once, and ends what can no longer be in time.
func (s *Scheduler) declareAhead(ctx context.Context, cur *dline.Info, head *api.TipSet) {
	for open, d := range s.ahead {
		if head.Height+inclusion >= d.info.FaultCutoff {
			d.end(errCutoff)
		}
		if head.Height >= d.info.Close {
			delete(s.ahead, open)
		}
	}
	for n := uint64(1); n <= cur.WPoStPeriodDeadlines; n++ {
		di := following(cur, n)
		if head.Height+inclusion >= di.FaultCutoff {
			continue
		}
		if s.ahead[di.Open] == nil {
			s.startDeclaring(ctx, di)
		}
		return
	}
}

func (s *Scheduler) startDeclaring(ctx context.Context, di *dline.Info) {
	d := &declaring{info: di}
	ctx, d.end = context.WithCancelCause(ctx)
	s.ahead[di.Open] = d
	s.spawn(fmt.Sprintf("declaring faults of deadline %d", di.Index), func() {
		defer d.end(nil)
		s.declare(ctx, di)
	})
}

// declare repeats until the chain was told. When that fails until the cutoff it is
// not fatal: the proof itself skips broken sectors, and recoveries wait for the
// next proving period.
func (s *Scheduler) declare(ctx context.Context, di *dline.Info) {
	for wait := retryPause; ; wait = pause(ctx, wait) {
		err := s.catch.Do(fmt.Sprintf("declaring faults of deadline %d", di.Index), func() error { return s.declareFor(ctx, di) })
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			if errors.Is(context.Cause(ctx), errCutoff) {
				s.deps.Log.Warn("window PoSt: faults and recoveries were not declared in time", "deadline", di.Index, "open",
					di.Open, "error", err)
			}
			return
		}
		s.repeated(err, "window PoSt: declaring faults and recoveries, will repeat", "deadline", di.Index)
	}
}

func (s *Scheduler) declareFor(ctx context.Context, di *dline.Info) error {
	parts, err := s.deps.Chain.StateMinerPartitions(ctx, s.cfg.Miner, di.Index, s.deps.Heads.Head().Key())
	if err != nil {
		return fmt.Errorf("partitions of deadline %d: %w", di.Index, err)
	}
	h := &health{healthy: map[uint64]bool{}}
	for i, p := range parts {
		if err := s.examine(ctx, uint64(i), p, h); err != nil {
			return fmt.Errorf("partition %d: %w", i, err)
		}
	}
	d, err := s.doubt(ctx, di, h)
	if err != nil {
		return err
	}
	s.say(di, h, d)
	recoveries, err := s.recoverable(ctx, di, h)
	if err != nil {
		return err
	}
	var faults miner.DeclareFaultsParams
	for _, p := range h.parts {
		if list := d.declarable(p.broken); len(list) > 0 {
			one := miner.FaultDeclaration{Deadline: di.Index, Partition: p.partition, Sectors: bitfield.NewFromSet(list)}
			faults.Faults = append(faults.Faults, one)
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

// recoverable lists what is faulty on chain and whole again, without what failed
// after it was declared before and looks as it did then. It is written down before
// it is declared; what the chain no longer takes for faulty is forgotten.
func (s *Scheduler) recoverable(ctx context.Context, di *dline.Info, h *health) (out miner.DeclareFaultsRecoveredParams, err error) {
	old, err := s.book.recoveries(ctx)
	if err != nil {
		return out, err
	}
	set := map[uint64]*recovery{}
	for n, healthy := range h.healthy {
		if _, ok := old[n]; ok && healthy {
			set[n] = nil
		}
	}
	for _, p := range h.parts {
		var list []uint64
		for _, n := range slices.Sorted(maps.Keys(p.whole)) {
			print := p.whole[n]
			if was := old[n]; was.Failed && was.Print == print {
				s.deps.Log.Warn("sector failed after it was declared recovered and nothing about its files has changed since; "+
					"it is not declared again",
					"sector", n, "then", was.Why, "try", "replace its files, or: miner proving recover")
				continue
			}
			list = append(list, n)
			set[n] = &recovery{Print: print, Open: di.Open}
		}
		if len(list) > 0 {
			s.deps.Log.Info("sectors can be proven again, declaring them recovered", "deadline", di.Index, "partition", p.partition,
				"sectors", list)
			one := miner.RecoveryDeclaration{Deadline: di.Index, Partition: p.partition, Sectors: bitfield.NewFromSet(list)}
			out.Recoveries = append(out.Recoveries, one)
		}
	}
	return out, s.book.keepRecoveries(ctx, set)
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
	c, err := s.deps.Msgs.Send(ctx, key, &api.Message{
		To:     s.cfg.Miner,
		From:   from,
		Value:  big.Zero(),
		Method: method,
		Params: params,
	})
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
