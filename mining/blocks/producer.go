package blocks

import (
	"context"
	"encoding/json"
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
	"quarry/internal/lifecycle"
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
	SyncState(ctx context.Context) (json.RawMessage, error)
	Owing
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
	// OpenEpoch asks the network which epoch takes blocks now, where timestamps do
	// not tell: on a devnet, whose epochs may stand still or run ahead of what heads
	// show. nil: it is reckoned from the last head and EpochWall.
	OpenEpoch func(ctx context.Context) (abi.ChainEpoch, error)
	// Propagation is how long after the start of an epoch its blocks may still
	// arrive, on a real network (0 = a third of the block delay, at most 10 s).
	Propagation time.Duration
	// MaxNulls is how many null rounds one block may bridge (0 = 2000, at most
	// 8191, as a header has room for the beacon entries of 8192 rounds). A longer
	// silence is bridged by several blocks.
	MaxNulls int
	// SubmitConfidence is how many epochs after the opening of a deadline this miner
	// sends its window PoSts (0 = 4, see mining/window).
	SubmitConfidence abi.ChainEpoch
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
	catch   *lifecycle.Catcher
	guard   *guard.Guard
	actor   abi.ActorID
	entropy []byte
	delay   time.Duration // BlockDelaySecs; owned by the run loop

	pacer pacer      // owned by the run loop
	last  *sentBlock // owned by the run loop
	clock reading    // owned by the run loop
	lag   lag        // owned by the run loop
	// refrain is the last reason why nothing could be tried: it is logged once.
	refrain string // owned by the run loop

	node outage.Watch

	mu     sync.Mutex
	status api.MiningStatus
}

// attempt is one epoch tried on one base.
type attempt struct {
	base  *api.TipSet
	epoch abi.ChainEpoch
}

func (a attempt) round() abi.ChainEpoch { return a.epoch }

// nulls is how many rounds a block of the attempt bridges.
func (a attempt) nulls() int { return int(a.epoch - a.base.Height - 1) }

// Run produces blocks until ctx ends. Errors of single epochs are logged and
// shown in the status; they do not end it, and neither does any silence of the
// chain: it tries one round after the other for as long as there is no new head.
func (p *Producer) Run(ctx context.Context) error {
	p.setRunning(true)
	defer p.setRunning(false)
	events := p.deps.Heads.Subscribe(ctx)
	if err := p.learnDelay(ctx); err != nil {
		return err
	}
	var cur *pursuit // of the newest head
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-events:
			if !ok {
				return ctx.Err()
			}
			// Only where the head is now matters, so that gaps are harmless.
			if cur != nil && ev.Head.Equal(cur.base) {
				continue
			}
			cur = newPursuit(ev.Head, time.Now())
			p.pacer.observe(cur.base.Height, cur.arrived)
		case <-timer.C:
			p.step(ctx, cur)
		}
		timer.Reset(p.pause(cur))
	}
}

// epochStart is the timestamp a block of the attempt bears.
func (p *Producer) epochStart(a attempt) time.Time { return time.Unix(int64(p.timestamp(a)), 0) }

func (p *Producer) timestamp(a attempt) uint64 {
	return a.base.MinTimestamp() + uint64(p.delay/time.Second)*uint64(a.epoch-a.base.Height)
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

// epochLength is the wall-clock length of an epoch on any network.
func (p *Producer) epochLength() time.Duration {
	if d := p.pace(); d > 0 {
		return d
	}
	return p.delay
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
