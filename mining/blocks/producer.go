package blocks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/chain/heads"
	"quarry/mining/guard"
	"quarry/mining/outage"
)

// Chain is what block production needs of a full node.
type Chain interface {
	MinerGetBaseInfo(ctx context.Context, a address.Address, epoch abi.ChainEpoch, tsk api.TipSetKey) (*api.MiningBaseInfo, error)
	StateGetBeaconEntry(ctx context.Context, epoch abi.ChainEpoch) (*api.BeaconEntry, error)
	WalletSign(ctx context.Context, a address.Address, data []byte) (*crypto.Signature, error)
	MpoolSelect(ctx context.Context, tsk api.TipSetKey, ticketQuality float64) ([]*api.SignedMessage, error)
	MinerCreateBlock(ctx context.Context, t *api.BlockTemplate) (*api.BlockMsg, error)
	SyncSubmitBlock(ctx context.Context, b *api.BlockMsg) error
	ChainPutObj(ctx context.Context, block api.ObjBlock) error
	StateGetNetworkParams(ctx context.Context) (*api.NetworkParams, error)
}

// Prover makes winning PoSts.
type Prover interface {
	ProveWinning(ctx context.Context, r api.WinningPoStRequest) ([]byte, error)
}

// Heads is the head follower.
type Heads interface {
	Head() *api.TipSet
	Subscribe(ctx context.Context) <-chan heads.Event
}

// Config says for whom and how.
type Config struct {
	Miner address.Address // ID address
	// EpochWall is the wall-clock length of an epoch where it differs from the
	// network's block delay, as on a devnet; 0 from it means that it is to be
	// observed from the arrival of heads. nil means a real network: epochs
	// follow the timestamps of the blocks.
	EpochWall func() time.Duration
	// Propagation is how long after the start of an epoch its blocks may still
	// arrive, on a real network (0 = a third of the block delay, at most 10 s).
	Propagation time.Duration
	// MaxNulls is how many epochs after the head are tried (0 = 100).
	MaxNulls int
}

// Deps are the collaborators.
type Deps struct {
	Store  datastore.Batching // prefixed for block production
	Chain  Chain
	Prover Prover
	Snark  Snark // nil: proofs travel as vanilla ones, where the network takes them
	Heads  Heads
	Log    *slog.Logger
}

// Snark makes the Groth16 proof of what a vanilla winning proof shows.
type Snark interface {
	Winning(ctx context.Context, info proof.WinningPoStVerifyInfo, vanilla []byte) ([]byte, error)
}

// Producer makes blocks. Use New, then Run.
type Producer struct {
	cfg     Config
	deps    Deps
	guard   *guard.Guard
	actor   abi.ActorID
	entropy []byte
	delay   time.Duration // BlockDelaySecs; owned by the run loop

	pacer pacer      // owned by the run loop
	last  *sentBlock // owned by the run loop

	node outage.Watch

	mu     sync.Mutex
	status api.MiningStatus
}

// attempt is one epoch tried on one base.
type attempt struct {
	base  *api.TipSet
	nulls int
}

func (a attempt) round() abi.ChainEpoch { return a.base.Height + abi.ChainEpoch(a.nulls) + 1 }

// Run produces blocks until ctx ends. Errors of single epochs are logged and
// shown in the status; they do not end it.
func (p *Producer) Run(ctx context.Context) error {
	p.setRunning(true)
	defer p.setRunning(false)
	events := p.deps.Heads.Subscribe(ctx)
	if err := p.learnDelay(ctx); err != nil {
		return err
	}
	var next attempt // the attempt to make when timer fires
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	var arrived time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-events:
			if !ok {
				return ctx.Err()
			}
			if next.base != nil && ev.Head.Equal(next.base) {
				continue
			}
			next, arrived = attempt{base: ev.Head}, time.Now()
			p.pacer.observe(ev.Head.Height, arrived)
		case <-timer.C:
			p.try(ctx, next)
			next.nulls++
			if next.nulls > p.cfg.MaxNulls {
				continue // a new head sets the timer again
			}
		}
		timer.Reset(time.Until(p.due(next, arrived)))
	}
}

// due tells when an attempt should start. On a devnet the head's arrival is
// the start of the next epoch, and a quarter of the pace is left for the news
// that an epoch was not null; on a real network the timestamps rule, and
// blocks of the base get time to arrive.
func (p *Producer) due(a attempt, arrived time.Time) time.Time {
	if pace := p.pace(); pace > 0 {
		if a.nulls == 0 {
			return arrived
		}
		return arrived.Add(time.Duration(a.nulls)*pace + pace/4)
	}
	return p.epochStart(a).Add(-p.delay).Add(p.cfg.Propagation)
}

// epochStart is the timestamp a block of the attempt bears.
func (p *Producer) epochStart(a attempt) time.Time { return time.Unix(int64(p.timestamp(a)), 0) }

func (p *Producer) timestamp(a attempt) uint64 {
	return a.base.MinTimestamp() + uint64(p.delay/time.Second)*uint64(a.nulls+1)
}

// pace is the wall-clock length of an epoch on a devnet, 0 on a real network.
func (p *Producer) pace() time.Duration {
	if p.cfg.EpochWall == nil {
		return 0
	}
	if d := p.cfg.EpochWall(); d > 0 {
		return d
	}
	return p.pacer.estimate(p.delay)
}

// behind tells how far the base lags on a real network when it lags so much
// that a block on it would be worthless, else 0.
func (p *Producer) behind(a attempt) time.Duration {
	if p.cfg.EpochWall != nil {
		return 0
	}
	lag := time.Since(time.Unix(int64(a.base.MinTimestamp()), 0))
	if lag <= time.Duration(p.cfg.MaxNulls+1)*p.delay {
		return 0
	}
	return lag
}

// learnDelay asks for the block delay until the node answers.
func (p *Producer) learnDelay(ctx context.Context) error {
	for {
		np, err := p.deps.Chain.StateGetNetworkParams(ctx)
		if err == nil && np.BlockDelaySecs > 0 {
			p.answered()
			p.delay = time.Duration(np.BlockDelaySecs) * time.Second
			if p.cfg.Propagation <= 0 {
				p.cfg.Propagation = min(p.delay/3, 10*time.Second)
			}
			return nil
		}
		if err == nil {
			err = errors.New("the node names a block delay of 0 seconds")
		}
		p.failed(fmt.Errorf("ask for the block delay: %w", err))
		if wait(ctx, time.Second) != nil {
			return ctx.Err()
		}
	}
}

// try makes one attempt, unless the chain has moved on already.
func (p *Producer) try(ctx context.Context, a attempt) {
	if p.taken(a) {
		return
	}
	if behind := p.behind(a); behind > 0 {
		p.note(a.round(), false, fmt.Sprintf("the full node is %s behind the clock; wait until it is in sync", behind.Round(time.Second)))
		return
	}
	err := p.attempt(ctx, a)
	if err == nil || ctx.Err() != nil {
		return
	}
	p.failed(fmt.Errorf("epoch %d: %w", a.round(), err))
}

// taken tells whether the chain has moved off the base of the attempt.
func (p *Producer) taken(a attempt) bool {
	h := p.deps.Heads.Head()
	return h != nil && !h.Equal(a.base)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
