package blocks

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"

	"quarry/api"
)

// Owing is what tells which window PoSts the miner owes to the chain. It matters
// when the chain was silent: null rounds that pass the close of a deadline
// without its proof take away the power of its sectors, and where nobody else has
// power, nobody may make a block any more (lotus chain/stmgr MinerEligibleToMine).
// A silence is therefore bridged with a block in every deadline of the miner.
type Owing interface {
	StateMinerProvingDeadline(ctx context.Context, a address.Address, tsk api.TipSetKey) (*dline.Info, error)
	StateMinerDeadlines(ctx context.Context, a address.Address, tsk api.TipSetKey) ([]api.Deadline, error)
	StateMinerPartitions(ctx context.Context, a address.Address, deadline uint64, tsk api.TipSetKey) ([]api.Partition, error)
	ChainGetMessagesInTipset(ctx context.Context, tsk api.TipSetKey) ([]api.CidMessage, error)
	MpoolPending(ctx context.Context, tsk api.TipSetKey) ([]*api.SignedMessage, error)
}

const (
	// defaultSubmit is mining/window's default SubmitConfidence.
	defaultSubmit = 4
	// inclusion is how many epochs a deadline keeps for blocks that take its proofs.
	inclusion = 10
	// leastHold is the least time that a window PoSt is waited for; the most is the
	// length of a deadline on the clock, where that is longer.
	leastHold = 30 * time.Second
	// partsFresh is how long the sectors of a deadline are remembered.
	partsFresh = time.Minute
)

// owed remembers, during one silence, what the chain said. Its zero value is new.
type owed struct {
	parts   map[uint64]knownParts
	waiting abi.ChainEpoch // opening of the deadline that is waited for
	since   time.Time
	useless bool // waiting brought nothing once: no more of it in this silence
}

type knownParts struct {
	list []api.Partition
	at   time.Time
}

// stop is the last round, at most to, that leaves out nothing the miner owes. why
// tells what to wait for first, empty when a block may be made now.
func (o *owed) stop(ctx context.Context, p *Producer, base *api.TipSet, to abi.ChainEpoch) (stop abi.ChainEpoch, why string, err error) {
	di, err := p.deps.Chain.StateMinerProvingDeadline(ctx, p.cfg.Miner, base.Key())
	if err != nil {
		return 0, "", fmt.Errorf("current deadline: %w", err)
	}
	if di == nil || di.WPoStPeriodDeadlines == 0 || di.WPoStChallengeWindow <= 0 {
		return to, "", nil
	}
	// The first is the one that the round after the base lies in.
	for n := uint64(0); n <= di.WPoStPeriodDeadlines; n++ {
		d := following(di, n)
		if d.Close <= base.Height+1 {
			continue
		}
		// Deep enough for its window PoSts to be sent.
		target := d.Open + min(p.cfg.SubmitConfidence+1, max(1, d.WPoStChallengeWindow-inclusion))
		if target > to {
			break
		}
		open, err := o.unproven(ctx, p, base, d)
		if err != nil {
			return 0, "", err
		}
		if len(open) == 0 {
			continue
		}
		if base.Height < target {
			return target, "", nil
		}
		if why := o.await(p, d, open); why != "" {
			return 0, why, nil
		}
		if d.Close-1 > base.Height+1 && !o.useless {
			return base.Height + 1, "", nil // takes the proof that lies in the pool
		}
	}
	return to, "", nil
}

// await says what to wait for, while waiting may help.
func (o *owed) await(p *Producer, d *dline.Info, open map[uint64]bool) string {
	missing := 0
	for _, sent := range open {
		if !sent {
			missing++
		}
	}
	if missing == 0 || o.useless {
		return ""
	}
	if o.since.IsZero() || o.waiting != d.Open {
		o.waiting, o.since = d.Open, time.Now()
	}
	limit := max(leastHold, time.Duration(d.WPoStChallengeWindow)*p.epochLength())
	if time.Since(o.since) >= limit {
		o.useless = true
		p.deps.Log.Warn("block production: no window PoSt came in time; the null rounds go on without waiting, and sectors "+
			"may become faulty",
			"deadline", d.Index, "open", d.Open, "waited", limit)
		return ""
	}
	return fmt.Sprintf("the chain was silent, and the window PoSt of deadline %d (open at %d) must be sent before null rounds pass it; "+
		"%d partitions are missing", d.Index, d.Open, missing)
}

// unproven lists the partitions of a deadline whose sectors lose or gain power by
// a window PoSt and have none on chain yet; the value tells whether it was sent.
func (o *owed) unproven(ctx context.Context, p *Producer, base *api.TipSet, d *dline.Info) (map[uint64]bool, error) {
	parts, err := o.partitions(ctx, p, base, d.Index)
	if err != nil {
		return nil, err
	}
	open := map[uint64]bool{}
	for i, part := range parts {
		at, err := stakes(part)
		if err != nil {
			return nil, fmt.Errorf("sectors of partition %d of deadline %d: %w", i, d.Index, err)
		}
		if at {
			open[uint64(i)] = false
		}
	}
	if len(open) == 0 || d.Challenge > base.Height {
		return open, nil
	}
	return open, o.strike(ctx, p, base, d, open)
}

// strike takes out what was posted and marks what was sent.
func (o *owed) strike(ctx context.Context, p *Producer, base *api.TipSet, d *dline.Info, open map[uint64]bool) error {
	if d.Open <= base.Height {
		dls, err := p.deps.Chain.StateMinerDeadlines(ctx, p.cfg.Miner, base.Key())
		if err != nil {
			return fmt.Errorf("deadlines: %w", err)
		}
		if d.Index >= uint64(len(dls)) {
			return fmt.Errorf("the node tells of %d deadlines, deadline %d is open", len(dls), d.Index)
		}
		for i := range open {
			if done, err := dls[d.Index].PostSubmissions.IsSet(i); err != nil {
				return fmt.Errorf("proofs of deadline %d: %w", d.Index, err)
			} else if done {
				delete(open, i)
			}
		}
	}
	// The state is the one before the messages of the base.
	in, err := p.deps.Chain.ChainGetMessagesInTipset(ctx, base.Key())
	if err != nil {
		return fmt.Errorf("messages of the head: %w", err)
	}
	for _, m := range in {
		for _, i := range p.posts(m.Message, d.Index) {
			delete(open, i)
		}
	}
	pending, err := p.deps.Chain.MpoolPending(ctx, base.Key())
	if err != nil {
		return fmt.Errorf("pending messages: %w", err)
	}
	for _, m := range pending {
		for _, i := range p.posts(&m.Message, d.Index) {
			if _, ok := open[i]; ok {
				open[i] = true
			}
		}
	}
	return nil
}

// posts lists the partitions that a message proves, when it is a window PoSt of
// this miner for the deadline.
func (p *Producer) posts(m *api.Message, deadline uint64) (partitions []uint64) {
	if m == nil || m.To != p.cfg.Miner || m.Method != builtin.MethodsMiner.SubmitWindowedPoSt {
		return nil
	}
	var params miner.SubmitWindowedPoStParams
	if params.UnmarshalCBOR(bytes.NewReader(m.Params)) != nil || params.Deadline != deadline {
		return nil
	}
	for _, part := range params.Partitions {
		partitions = append(partitions, part.Index)
	}
	return partitions
}

func (o *owed) partitions(ctx context.Context, p *Producer, base *api.TipSet, index uint64) ([]api.Partition, error) {
	if k, ok := o.parts[index]; ok && time.Since(k.at) < partsFresh {
		return k.list, nil
	}
	list, err := p.deps.Chain.StateMinerPartitions(ctx, p.cfg.Miner, index, base.Key())
	if err != nil {
		return nil, fmt.Errorf("partitions of deadline %d: %w", index, err)
	}
	if o.parts == nil {
		o.parts = map[uint64]knownParts{}
	}
	o.parts[index] = knownParts{list, time.Now()}
	return list, nil
}

// stakes tells whether a partition has sectors that a missing proof would make
// faulty, or that a proof would recover.
func stakes(part api.Partition) (bool, error) {
	healthy, err := bitfield.SubtractBitField(part.LiveSectors, part.FaultySectors)
	if err != nil {
		return false, err
	}
	at, err := bitfield.MergeBitFields(healthy, part.RecoveringSectors)
	if err != nil {
		return false, err
	}
	empty, err := at.IsEmpty()
	return !empty, err
}

// following is the n-th deadline after di, in this proving period or the next.
func following(di *dline.Info, n uint64) *dline.Info {
	index, start := di.Index+n, di.PeriodStart
	for index >= di.WPoStPeriodDeadlines {
		index -= di.WPoStPeriodDeadlines
		start += di.WPoStProvingPeriod
	}
	return dline.NewInfo(start, index, di.CurrentEpoch, di.WPoStPeriodDeadlines, di.WPoStProvingPeriod,
		di.WPoStChallengeWindow, di.WPoStChallengeLookback, di.FaultDeclarationCutoff)
}
