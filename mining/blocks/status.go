package blocks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/internal/lifecycle"
	"quarry/mining/election"
	"quarry/mining/guard"
)

var tallyKey = datastore.NewKey("/tally")

// tally is what outlives the process.
type tally struct {
	BlocksWon uint64
	LastBlock *cid.Cid
	LastWin   time.Time
}

// New makes a producer and reads its tally.
func New(cfg Config, deps Deps) (*Producer, error) {
	id, err := address.IDFromAddress(cfg.Miner)
	if err != nil {
		return nil, &api.ErrInvalid{What: "miner address " + cfg.Miner.String(), Reason: "not an ID address",
			Hint: "resolve it with StateLookupID first"}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxNulls <= 0 {
		cfg.MaxNulls = defaultNulls
	}
	cfg.MaxNulls = min(cfg.MaxNulls, mostNulls)
	if cfg.SubmitConfidence <= 0 {
		cfg.SubmitConfidence = defaultSubmit
	}
	entropy, err := election.Entropy(cfg.Miner)
	if err != nil {
		return nil, err
	}
	p := &Producer{
		cfg:     cfg,
		deps:    deps,
		catch:   lifecycle.NewCatcher(deps.Log),
		guard:   guard.New(deps.Store),
		actor:   abi.ActorID(id),
		entropy: entropy,
	}
	if err := p.loadTally(context.Background()); err != nil {
		return nil, err
	}
	if err := p.loadLast(context.Background()); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Producer) loadTally(ctx context.Context) error {
	b, err := p.deps.Store.Get(ctx, tallyKey)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	var t tally
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return fmt.Errorf("read the tally of blocks won: %w", err)
	}
	p.status.BlocksWon, p.status.LastBlock, p.status.LastWin = t.BlocksWon, t.LastBlock, t.LastWin
	return nil
}

func (p *Producer) countWin(ctx context.Context, c cid.Cid) error {
	p.mu.Lock()
	p.status.BlocksWon++
	p.status.LastBlock, p.status.LastWin, p.status.LastErr = &c, time.Now(), ""
	t := tally{p.status.BlocksWon, &c, p.status.LastWin}
	p.mu.Unlock()
	b, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode the tally: %w", err)
	}
	if err := p.deps.Store.Put(ctx, tallyKey, b); err != nil {
		return fmt.Errorf("count block %s: %w", c, err)
	}
	return p.deps.Store.Sync(ctx, tallyKey)
}

// Status is a snapshot.
func (p *Producer) Status() api.MiningStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

func (p *Producer) setRunning(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Running = on
}

func (p *Producer) note(epoch abi.ChainEpoch, eligible bool, reason string) {
	p.mu.Lock()
	changed := p.status.Eligible != eligible || p.status.Reason != reason
	p.status.LastEpoch, p.status.Eligible, p.status.Reason = epoch, eligible, reason
	p.mu.Unlock()
	if changed {
		p.deps.Log.Info("eligibility to mine changed", "epoch", epoch, "eligible", eligible, "reason", reason)
	}
}

// answered is called when the node has answered.
func (p *Producer) answered() {
	if p.node.Back() {
		p.deps.Log.Info("block production: the full node answers again")
	}
}

// failed tells that an epoch was not tried to its end. While the node is away
// that is so in every epoch, and one warning is enough.
func (p *Producer) failed(err error) {
	p.mu.Lock()
	p.status.LastErr = err.Error()
	p.mu.Unlock()
	p.deps.Log.Log(context.Background(), p.node.Level(err), "block production", "error", err)
}
