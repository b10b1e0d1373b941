package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-amt-ipld/v2"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/reward"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/chain/fvm"
	"quarry/chain/genesis"
)

// Gas limits of implicit messages (lotus chain/consensus/compute_state.go).
const (
	rewardGasLimit = 1 << 30
	cronGasLimit   = 100_000_000_000_000
)

// outcome is what executing a tipset leaves: the parent state and receipts of
// the tipsets built on it.
type outcome struct {
	State    cid.Cid
	Receipts cid.Cid
}

// Machines makes machines; the fvm engine does.
type Machines = genesis.Machines

// executor runs tipsets and remembers the outcomes.
type executor struct {
	engine Machines
	l      *ledger
	beacon *beacon
	proofs fvm.ProofVerifier
	faults *faultChecker
	params *Params

	mu    sync.Mutex // one execution at a time
	memo  map[string]outcome
	nulls nullRun
}

// nullRun is the progress of null rounds on top of one outcome.
type nullRun struct {
	base  cid.Cid // state the run starts from
	from  abi.ChainEpoch
	upTo  abi.ChainEpoch // crons run for (from, upTo]
	state cid.Cid
}

func cborSum(data []byte) (cid.Cid, error) { return abi.CidBuilder.Sum(data) }

func (x *executor) timestamp(e abi.ChainEpoch) uint64 { return x.params.Timestamp + uint64(e) }

// after gives the outcome of a tipset, executing it when that is not known.
func (x *executor) after(ctx context.Context, ts *api.TipSet) (outcome, error) {
	if ts.Height == 0 {
		return outcome{ts.ParentState(), ts.Blocks[0].ParentMessageReceipts}, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	id := recResult + ts.Key().Cid().String()
	if o, ok := x.memo[id]; ok {
		return o, nil
	}
	raw, err := x.l.ds.Get(ctx, datastore.RawKey(id))
	switch {
	case err == nil:
		var o outcome
		if err := json.Unmarshal(raw, &o); err != nil {
			return outcome{}, fmt.Errorf("outcome of %s: %w", ts.Key(), err)
		}
		x.remember(id, o)
		return o, nil
	case !errors.Is(err, datastore.ErrNotFound):
		return outcome{}, fmt.Errorf("outcome of %s: %w", ts.Key(), err)
	}
	o, err := x.run(ctx, ts)
	if err != nil {
		return outcome{}, fmt.Errorf("execute tipset %s at %d: %w", ts.Key(), ts.Height, err)
	}
	x.remember(id, o)
	return o, nil
}

func (x *executor) remember(id string, o outcome) {
	if len(x.memo) > 4096 {
		clear(x.memo)
	}
	x.memo[id] = o
}

// record is the datastore record of a known outcome.
func (x *executor) record(ts *api.TipSet, o outcome) (string, []byte, error) {
	raw, err := json.Marshal(o)
	return recResult + ts.Key().Cid().String(), raw, err
}

// machine opens a machine over a state, for an epoch on the ancestry of ts.
func (x *executor) machine(
	ctx context.Context, root cid.Cid, ts *api.TipSet, epoch abi.ChainEpoch, baseFee abi.TokenAmount, trace bool,
) (*fvm.Machine, error) {
	supply, err := x.supply(ctx, root)
	if err != nil {
		return nil, err
	}
	return x.engine.NewMachine(ctx, fvm.MachineConfig{
		Epoch:          epoch,
		Timestamp:      x.timestamp(epoch),
		BaseFee:        baseFee,
		CircSupply:     supply.FilCirculating,
		NetworkVersion: genesis.Version,
		ChainID:        genesis.ChainID,
		StateRoot:      root,
		Trace:          trace,
	}, fvm.Deps{Store: x.l.blocks, Proofs: x.proofs,
		Externs: &externs{chainRand: chainRand{l: x.l, b: x.beacon, ts: ts, allow: epoch}, faults: x.faults}})
}

// advanceNulls runs the crons of null rounds (base.Height, upTo] on top of base
// and gives the state. Progress is kept, so that each cron runs once.
func (x *executor) advanceNulls(ctx context.Context, base *api.TipSet, upTo abi.ChainEpoch) (cid.Cid, error) {
	o, err := x.after(ctx, base)
	if err != nil {
		return cid.Undef, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.nullState(ctx, o.State, base, upTo)
}

// nullsAtOnce is how many crons advanceSome runs.
const nullsAtOnce = 64

// advanceSome gets on with the crons of null rounds, so that their state is there
// when it is asked for. After a block for a round long past there are many to run
// again; they are spread over the next epochs.
func (x *executor) advanceSome(ctx context.Context, base *api.TipSet, upTo abi.ChainEpoch) error {
	o, err := x.after(ctx, base)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	done := base.Height
	if x.nulls.base == o.State && x.nulls.from == base.Height {
		done = min(x.nulls.upTo, upTo)
	}
	_, err = x.nullState(ctx, o.State, base, min(upTo, done+nullsAtOnce))
	return err
}

func (x *executor) nullState(ctx context.Context, root cid.Cid, base *api.TipSet, upTo abi.ChainEpoch) (cid.Cid, error) {
	n := x.nulls
	if n.base != root || n.from != base.Height || n.upTo > upTo {
		n = nullRun{base: root, from: base.Height, upTo: base.Height, state: root}
	}
	for n.upTo < upTo {
		m, err := x.machine(ctx, n.state, base, n.upTo+1, base.Blocks[0].ParentBaseFee, false)
		if err != nil {
			return cid.Undef, err
		}
		if err := x.cron(ctx, m, n.upTo+1); err != nil {
			return cid.Undef, err
		}
		if n.state, err = m.Flush(ctx); err != nil {
			return cid.Undef, fmt.Errorf("flush null round %d: %w", n.upTo+1, err)
		}
		n.upTo++
		x.nulls = n
	}
	return n.state, nil
}

func (x *executor) cron(ctx context.Context, m *fvm.Machine, epoch abi.ChainEpoch) error {
	res, err := m.ApplyImplicit(ctx, &api.Message{
		To:         builtin.CronActorAddr,
		From:       builtin.SystemActorAddr,
		Nonce:      uint64(epoch),
		Value:      big.Zero(),
		GasLimit:   cronGasLimit,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
		Method:     2,
	})
	if err != nil {
		return fmt.Errorf("cron of epoch %d: %w", epoch, err)
	}
	if res.ExitCode != 0 {
		return fmt.Errorf("cron of epoch %d: exit code %d: %s", epoch, res.ExitCode, res.Backtrace)
	}
	return nil
}

// run executes a tipset: null rounds since the parent, then block by block BLS
// messages, secp256k1 messages and the reward, then cron.
func (x *executor) run(ctx context.Context, ts *api.TipSet) (outcome, error) {
	parent, err := x.l.parent(ctx, ts)
	if err != nil {
		return outcome{}, err
	}
	root, err := x.nullState(ctx, ts.ParentState(), parent, ts.Height-1)
	if err != nil {
		return outcome{}, err
	}
	m, err := x.machine(ctx, root, ts, ts.Height, ts.Blocks[0].ParentBaseFee, false)
	if err != nil {
		return outcome{}, err
	}
	seen := map[cid.Cid]struct{}{}
	var receipts []cbg.CBORMarshaler
	for _, b := range ts.Blocks {
		rs, err := x.block(ctx, m, b, seen)
		if err != nil {
			return outcome{}, err
		}
		receipts = append(receipts, rs...)
	}
	if err := x.cron(ctx, m, ts.Height); err != nil {
		return outcome{}, err
	}
	state, err := m.Flush(ctx)
	if err != nil {
		return outcome{}, fmt.Errorf("flush: %w", err)
	}
	rroot, err := amt.FromArray(ctx, x.l.blocks.ipld(), receipts)
	if err != nil {
		return outcome{}, fmt.Errorf("build receipts: %w", err)
	}
	return outcome{state, rroot}, nil
}

func (x *executor) block(ctx context.Context, m *fvm.Machine, b *api.BlockHeader, seen map[cid.Cid]struct{}) ([]cbg.CBORMarshaler, error) {
	msgs, err := x.l.blockMessages(ctx, b)
	if err != nil {
		return nil, err
	}
	penalty, tips := big.Zero(), big.Zero()
	var out []cbg.CBORMarshaler
	for _, im := range msgs {
		if _, dup := seen[im.cid]; dup {
			continue
		}
		seen[im.cid] = struct{}{}
		res, err := m.Apply(ctx, im.msg, im.chainLen())
		if err != nil {
			return nil, fmt.Errorf("message %s: %w", im.cid, err)
		}
		penalty, tips = big.Add(penalty, res.Outputs.MinerPenalty), big.Add(tips, res.Outputs.MinerTip)
		out = append(out, &api.MessageReceipt{ExitCode: res.ExitCode, Return: res.Return, GasUsed: res.GasUsed, EventsRoot: res.EventsRoot})
	}
	var params bytes.Buffer
	award := reward.AwardBlockRewardParams{Miner: b.Miner, Penalty: penalty, GasReward: tips, WinCount: b.ElectionProof.WinCount}
	if err := award.MarshalCBOR(&params); err != nil {
		return nil, fmt.Errorf("encode reward: %w", err)
	}
	res, err := m.ApplyImplicit(ctx, &api.Message{
		To:         builtin.RewardActorAddr,
		From:       builtin.SystemActorAddr,
		Nonce:      uint64(b.Height),
		Value:      big.Zero(),
		GasLimit:   rewardGasLimit,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
		Method:     builtin.MethodsReward.AwardBlockReward,
		Params:     params.Bytes(),
	})
	if err != nil {
		return nil, fmt.Errorf("reward of block %s: %w", b.Cid(), err)
	}
	if res.ExitCode != 0 {
		return nil, fmt.Errorf("reward of block %s: exit code %d: %s", b.Cid(), res.ExitCode, res.Backtrace)
	}
	return out, nil
}
