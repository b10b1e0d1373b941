package sealing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/lifecycle"
)

const epochsInDay = 2880

// Sealing implements api.Sealing.
type Sealing struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	catch   *lifecycle.Catcher
	store   store
	size    abi.SectorSize
	miner   abi.ActorID
	entropy []byte // CBOR of the miner address

	alloc sync.Mutex // one reservation or new sector at a time; taken before mu

	mu      sync.Mutex
	lanes   map[abi.SectorNumber]*lane
	numbers []abi.SectorNumber           // of lanes, ascending
	touched uint64                       // sectors looked at for lists while mu was held
	keys    map[string]abi.SectorNumber  // piece key -> sector of its plan
	lost    map[string]abi.SectorNumber  // piece key -> sector that gave it up
	waiters map[string][]chan pieceError // callers waiting for a piece
	running context.Context              // set while Run runs
	wg      sync.WaitGroup               // lanes at work

	preCommits, commits *batcher
	batches             batches // messages of several sectors

	unsealMu sync.Mutex
	unseals  map[api.UnsealTarget]*unsealing
}

// lane is a sector in memory. The driver goroutine exists only while there is
// work in the sector's state.
type lane struct {
	rec     record
	driving bool
	wake    chan struct{}      // buffered: something changed from outside
	stop    context.CancelFunc // ends the visit in progress
	// poisoned is why the stored record could not be read, which is not touched.
	// Such a sector is shown and rests; the others go on.
	poisoned error
	raw      []byte
}

var _ api.Sealing = (*Sealing)(nil)

// New reads the stored sectors. Nothing happens to them before Run.
func New(cfg Config, deps Deps) (*Sealing, error) {
	if err := deps.check(); err != nil {
		return nil, err
	}
	id, err := address.IDFromAddress(cfg.Miner)
	if err != nil {
		return nil, fmt.Errorf("sealing: the miner must be an ID address (f0...), have %s: %w", cfg.Miner, err)
	}
	size, err := cfg.ProofType.SectorSize()
	if err != nil {
		return nil, fmt.Errorf("sealing: seal proof type %d: %w", cfg.ProofType, err)
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.CommitMsgs == nil {
		deps.CommitMsgs = deps.Msgs
	}
	s := &Sealing{
		cfg:     cfg.withDefaults(size),
		deps:    deps,
		log:     deps.Log,
		catch:   lifecycle.NewCatcher(deps.Log),
		store:   store{deps.Store},
		size:    size,
		miner:   abi.ActorID(id),
		lanes:   map[abi.SectorNumber]*lane{},
		keys:    map[string]abi.SectorNumber{},
		lost:    map[string]abi.SectorNumber{},
		waiters: map[string][]chan pieceError{},
		unseals: map[api.UnsealTarget]*unsealing{},
	}
	if s.entropy, err = addressEntropy(cfg.Miner); err != nil {
		return nil, err
	}
	s.gather()
	if err := s.restore(context.Background()); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return s, nil
}

// restore reads what earlier runs have stored.
func (s *Sealing) restore(ctx context.Context) error {
	recs, poisoned, err := s.store.all(ctx)
	if err != nil {
		return err
	}
	for n, why := range poisoned {
		s.setAside(n, why)
	}
	for _, r := range recs {
		s.addLane(&lane{rec: r, wake: make(chan struct{}, 1)})
		s.indexKeys(r)
	}
	return s.batches.load(ctx, s.store, s.log)
}

// gather makes the two places where sectors wait for others to send with.
func (s *Sealing) gather() {
	s.preCommits = &batcher{
		s:       s,
		work:    jobPreCommit,
		via:     s.deps.Msgs,
		viaMany: s.deps.BatchMsgs,
		max:     s.cfg.MaxPreCommitBatch,
		room:    maxParams,
		wait:    s.cfg.PreCommitBatchWait,
	}
	s.commits = &batcher{
		s:       s,
		work:    jobCommit,
		via:     s.deps.CommitMsgs,
		viaMany: s.deps.CommitBatchMsgs,
		max:     s.cfg.MaxCommitBatch,
		room:    maxParams,
		wait:    s.cfg.CommitBatchWait,
	}
}

// Run drives every sector on from its stored state until ctx ends.
func (s *Sealing) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	if s.running != nil {
		s.mu.Unlock()
		return fmt.Errorf("sealing: Run is already running")
	}
	s.running = ctx
	for _, l := range s.lanes {
		s.kick(l)
	}
	n := len(s.lanes)
	s.mu.Unlock()
	s.log.Info("sealing runs", "miner", s.cfg.Miner, "sectors", n)
	<-ctx.Done()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// kick wakes a lane's driver or starts one. Callers hold mu.
func (s *Sealing) kick(l *lane) {
	select {
	case l.wake <- struct{}{}:
	default:
	}
	if l.driving || s.running == nil || machine[l.rec.State].Effect == effNone {
		return
	}
	l.driving = true
	s.wg.Add(1)
	ctx, n := s.running, l.rec.Number
	go func() {
		defer s.wg.Done()
		// What a panic leaves undone is begun again from the stored state.
		s.catch.Again(ctx, "the work on sector "+s.name(n), func(ctx context.Context) error {
			s.drive(ctx, l)
			return nil
		})
	}()
}

// drive does the work of one state after another until the sector rests.
func (s *Sealing) drive(ctx context.Context, l *lane) {
	for {
		s.mu.Lock()
		rec := l.rec.clone()
		row := machine[rec.State]
		if row.Effect == effNone || ctx.Err() != nil {
			l.driving = false
			s.mu.Unlock()
			return
		}
		visit, cancel := visitContext(ctx, row.Timeout)
		l.stop = cancel
		s.mu.Unlock()

		if wait := time.Until(rec.NextRetry); wait > 0 {
			pause(visit, wait, l.wake)
			cancel()
			continue
		}
		ev, err := s.actSafely(visit, l, row.Effect, rec)
		stopped := err != nil && errors.Is(visit.Err(), context.Canceled)
		cancel()
		if stopped || ctx.Err() != nil {
			continue // the record was changed from outside, or we are to end
		}
		if err != nil {
			ev = s.eventOf(rec, err)
		}
		if ev.Kind == "" {
			continue // look again
		}
		if err := s.advance(ctx, l, rec.State, ev); err != nil {
			s.log.Error("sector state cannot be stored, trying again", "sector", s.name(rec.Number), "state", rec.State, "err", err)
			pause(ctx, s.cfg.RetryMin, l.wake)
			continue
		}
		s.tidyTasks(ctx, rec, ev.Kind)
	}
}

// tidyTasks ends and forgets the tasks that nobody needs after a step from r.
func (s *Sealing) tidyTasks(ctx context.Context, r record, k kind) {
	switch {
	case slices.Contains([]kind{evFinalized, evFinalizedFree, evRemoved, evKeyReleased, evAborted}, k):
		s.forget(ctx, r) // what the tasks computed is not needed any more
	case k == evFatal:
		s.cancelTasks(ctx, r) // at the worker too
	case k == evLost && r.State == api.SectorPreCommit2: // that task reads what will be another's
		s.cancelTasks(ctx, r)
	}
}

func visitContext(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-wake:
	}
}

// advance applies an event found in state from and stores the result. An event
// whose state has meanwhile been left (a sector being removed) is dropped.
func (s *Sealing) advance(ctx context.Context, l *lane, from api.SectorState, ev event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.rec.State != from {
		return nil
	}
	return s.transit(ctx, l, ev)
}

// transit applies ev, stores the record and tells whoever waits. Callers hold mu.
func (s *Sealing) transit(ctx context.Context, l *lane, ev event) error {
	ev.Now = time.Now()
	before := l.rec
	rec, _, err := apply(before, ev)
	if err != nil {
		return err
	}
	if err := s.store.put(ctx, rec); err != nil {
		return err
	}
	l.rec = rec
	level := slog.LevelInfo
	if ev.Kind == evFailed || ev.Kind == evFatal || ev.Kind == evStuck || ev.Kind == evLost {
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "sector", "sector", s.name(rec.Number), "from", before.State, "event", ev.Kind, "to", rec.State, "reason",
		ev.Reason)
	s.settle(before, rec, ev)
	return nil
}

// amend changes a record without an event, and stores it.
func (s *Sealing) amend(ctx context.Context, l *lane, change func(*record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := l.rec.clone()
	change(&rec)
	if err := s.store.put(ctx, rec); err != nil {
		return err
	}
	l.rec = rec
	return nil
}

// outside applies an operator's or caller's event and wakes the sector.
// Callers hold mu.
func (s *Sealing) outside(ctx context.Context, l *lane, ev event) error {
	if err := s.transit(ctx, l, ev); err != nil {
		return err
	}
	s.kick(l)
	return nil
}

func (s *Sealing) name(n abi.SectorNumber) string { return api.SectorName(s.id(n)) }

func (s *Sealing) id(n abi.SectorNumber) abi.SectorID {
	return abi.SectorID{Miner: s.miner, Number: n}
}

func (s *Sealing) ref(r record) api.SectorRef {
	return api.SectorRef{ID: s.id(r.Number), ProofType: r.ProofType}
}
