package window

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"quarry/api"
	"quarry/internal/lifecycle"
	"quarry/mining/election"
)

// New makes a scheduler and reads its book.
func New(cfg Config, deps Deps) (*Scheduler, error) {
	id, err := address.IDFromAddress(cfg.Miner)
	if err != nil {
		return nil, &api.ErrInvalid{What: "miner address " + cfg.Miner.String(), Reason: "not an ID address",
			Hint: "resolve it with StateLookupID first"}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	entropy, err := election.Entropy(cfg.Miner)
	if err != nil {
		return nil, err
	}
	bk, err := openBook(context.Background(), deps.Store)
	if err != nil {
		return nil, err
	}
	return &Scheduler{
		cfg:        cfg.withDefaults(),
		deps:       deps,
		actor:      abi.ActorID(id),
		entropy:    entropy,
		proving:    make(chan struct{}, 1),
		book:       bk,
		pace:       pace{told: cfg.EpochWall},
		catch:      lifecycle.NewCatcher(deps.Log),
		jobs:       map[abi.ChainEpoch]*job{},
		ahead:      map[abi.ChainEpoch]*declaring{},
		earlyAt:    -1,
		unreadable: map[uint64][]api.SectorFault{},
		alerts:     map[uint64]string{},
	}, nil
}

func (c Config) withDefaults() Config {
	if c.ChallengeConfidence <= 0 {
		c.ChallengeConfidence = 1
	}
	if c.SubmitConfidence <= 0 {
		c.SubmitConfidence = 4
	}
	if c.MaxPartitions <= 0 || c.MaxPartitions > miner.PoStedPartitionsMax {
		c.MaxPartitions = miner.PoStedPartitionsMax
	}
	if c.Settle <= 0 {
		c.Settle = 30
	}
	if c.MinFunds.Int == nil || c.MinFunds.IsZero() {
		c.MinFunds = big.Mul(big.NewInt(50), big.NewInt(1e15)) // 0.05 FIL
	}
	return c
}

// maxUnreadable is what ProvingStatus promises.
const maxUnreadable = 1024

// Status is a snapshot.
func (s *Scheduler) Status() api.ProvingStatus {
	t := s.book.snapshot()
	out := api.ProvingStatus{CurrentDeadline: s.Deadline(), Accepted: t.Accepted, Failed: t.Failed, Recent: t.Recent}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range slices.Sorted(maps.Keys(s.alerts)) {
		out.Alerts = append(out.Alerts, s.alerts[d])
	}
	for _, d := range slices.Sorted(maps.Keys(s.unreadable)) {
		out.Unreadable = append(out.Unreadable, s.unreadable[d]...)
	}
	slices.SortFunc(out.Unreadable, func(a, b api.SectorFault) int { return cmp.Compare(a.Sector, b.Sector) })
	out.Unreadable = out.Unreadable[:min(len(out.Unreadable), maxUnreadable)]
	return out
}
