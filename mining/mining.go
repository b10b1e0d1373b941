package mining

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"

	"quarry/api"
	"quarry/internal/lifecycle"
	"quarry/mining/blocks"
	"quarry/mining/window"
)

// Chain is the part of a full node the subsystem uses; api.Chain has it all.
type Chain interface {
	blocks.Chain
	window.Chain
}

// Storage makes proofs over stored sectors; api.Storage has it all.
type Storage interface {
	blocks.Prover
	window.Prover
}

// Heads follows the head; *heads.Follower is one.
type Heads interface {
	blocks.Heads
	window.Heads
}

// Msgs sends keyed messages; *msgs.Sender is one.
type Msgs interface{ window.Msgs }

// Config says for whom to mine and under which conditions. The zero values of
// all but Miner are good.
type Config struct {
	// Miner is the ID address of the miner actor.
	Miner address.Address
	// VanillaAccepted says that the network takes vanilla proofs in envelopes,
	// as the embedded devnet does.
	VanillaAccepted bool
	// EpochWall is the wall-clock length of an epoch on an embedded devnet; 0 from
	// it means that the pace is observed. nil elsewhere: timestamps rule.
	EpochWall func() time.Duration
	// OpenEpoch asks an embedded devnet which epoch takes blocks now, because its
	// epochs may stand still or run ahead of the heads. nil elsewhere.
	OpenEpoch func(ctx context.Context) (abi.ChainEpoch, error)
	// DisableBlocks and DisableWindow leave out one of the two halves.
	DisableBlocks, DisableWindow bool
	// MaxPartitionsPerPoStMessage, SubmitConfidence: see window.Config.
	MaxPartitionsPerPoStMessage int
	SubmitConfidence            abi.ChainEpoch
}

// Snark makes Groth16 proofs of what vanilla ones show.
type Snark interface {
	blocks.Snark
	window.Snark
}

// Deps are the collaborators, all needed but Snark and Log.
type Deps struct {
	Store   datastore.Batching // prefixed for this subsystem
	Chain   Chain
	Storage Storage
	Snark   Snark // nil: vanilla proofs only
	Heads   Heads
	Msgs    Msgs
	Log     *slog.Logger
}

// Mining implements api.Mining.
type Mining struct {
	cfg    Config
	snark  bool // Groth16 proofs are made here
	log    *slog.Logger
	blocks *blocks.Producer
	window *window.Scheduler
	catch  *lifecycle.Catcher

	mu       sync.Mutex
	troubles map[string]string // of a half that has failed and was not begun again yet
}

var _ api.Mining = (*Mining)(nil)

// New builds both halves and reads their state.
func New(cfg Config, deps Deps) (*Mining, error) {
	if deps.Store == nil || deps.Chain == nil || deps.Storage == nil || deps.Heads == nil || deps.Msgs == nil {
		return nil, &api.ErrInvalid{What: "mining", Reason: "a collaborator is missing",
			Hint: "Store, Chain, Storage, Heads and Msgs are all needed"}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	b, err := blocks.New(blocks.Config{Miner: cfg.Miner, EpochWall: cfg.EpochWall, OpenEpoch: cfg.OpenEpoch,
		SubmitConfidence: cfg.SubmitConfidence}, blocks.Deps{
		Store:  namespace.Wrap(deps.Store, datastore.NewKey("/blocks")),
		Chain:  deps.Chain,
		Prover: deps.Storage,
		Snark:  deps.Snark,
		Heads:  deps.Heads,
		Log:    deps.Log.With("part", "blocks"),
	})
	if err != nil {
		return nil, fmt.Errorf("block production: %w", err)
	}
	w, err := window.New(window.Config{
		Miner:            cfg.Miner,
		MaxPartitions:    cfg.MaxPartitionsPerPoStMessage,
		SubmitConfidence: cfg.SubmitConfidence,
		EpochWall:        cfg.EpochWall,
	}, window.Deps{
		Store:  namespace.Wrap(deps.Store, datastore.NewKey("/window")),
		Chain:  deps.Chain,
		Prover: deps.Storage,
		Snark:  deps.Snark,
		Heads:  deps.Heads,
		Msgs:   deps.Msgs,
		Log:    deps.Log.With("part", "window"),
	})
	if err != nil {
		return nil, fmt.Errorf("window PoSt: %w", err)
	}
	return &Mining{
		cfg:      cfg,
		snark:    deps.Snark != nil,
		log:      deps.Log,
		blocks:   b,
		window:   w,
		catch:    lifecycle.NewCatcher(deps.Log),
		troubles: map[string]string{},
	}, nil
}

// noGroth16 is what the operator of a real network has to know.
var noGroth16 = &api.ErrUnsupportedProof{
	What: "window and winning PoSt on a network that takes only Groth16 proofs",
	Hint: "set Form = \"groth16\" under [Proving], run the miner against the embedded devnet, or leave EnableMining off",
}

// able tells whether the network takes what this process can prove.
func (m *Mining) able() bool { return m.cfg.VanillaAccepted || m.snark }

// Run mines until ctx ends. Where the network takes only Groth16 proofs and none
// are made here it does nothing but answer, with the reason in the status.
func (m *Mining) Run(ctx context.Context) error {
	if !m.able() {
		m.log.Error("mining is idle", "reason", noGroth16)
		<-ctx.Done()
		return ctx.Err()
	}
	var wg sync.WaitGroup
	if !m.cfg.DisableBlocks {
		wg.Go(func() { m.keep(ctx, "block production", m.blocks.Run) })
	}
	if !m.cfg.DisableWindow {
		wg.Go(func() { m.keep(ctx, "window PoSt", m.window.Run) })
	}
	<-ctx.Done()
	wg.Wait()
	return ctx.Err()
}

// keep runs one half until ctx ends. What goes wrong in it does not touch the
// other, and is shown until the half has begun again.
func (m *Mining) keep(ctx context.Context, what string, run func(context.Context) error) {
	m.catch.Again(ctx, what, func(ctx context.Context) error {
		m.trouble(what, nil)
		err := m.catch.Do(what, func() error { return run(ctx) })
		m.trouble(what, err)
		return err
	})
}

func (m *Mining) trouble(what string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.troubles, what)
	if err != nil {
		m.troubles[what] = fmt.Sprintf("%s has failed and is begun again: %s", what, err)
	}
}

// alerts are what is wrong with the halves themselves.
func (m *Mining) alerts() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Values(m.troubles))
}

// MiningStatus tells of block production.
func (m *Mining) MiningStatus(context.Context) (api.MiningStatus, error) {
	s := m.blocks.Status()
	if !m.able() {
		s.Eligible, s.Reason = false, noGroth16.Error()
	}
	return s, nil
}

// ProvingStatus tells of window PoSt.
func (m *Mining) ProvingStatus(context.Context) (api.ProvingStatus, error) {
	s := m.window.Status()
	s.Alerts = append(m.alerts(), s.Alerts...)
	return s, nil
}

// ProvingRetryRecovery lets sectors be declared recovered once more.
func (m *Mining) ProvingRetryRecovery(ctx context.Context, sectors []abi.SectorNumber) error {
	return m.window.RetryRecoveries(ctx, sectors)
}
