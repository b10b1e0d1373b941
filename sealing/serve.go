package sealing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// ActorAddress is the miner's ID address.
func (s *Sealing) ActorAddress(context.Context) (string, error) { return s.cfg.Miner.String(), nil }

// ActorSectorSize is the miner's sector size in bytes.
func (s *Sealing) ActorSectorSize(context.Context) (abi.SectorSize, error) { return s.size, nil }

// SectorsStatus is one sector, with the task that runs for it and, if asked,
// its history.
func (s *Sealing) SectorsStatus(ctx context.Context, n abi.SectorNumber, log bool) (api.SectorInfo, error) {
	rec, err := s.get(n)
	if err != nil {
		return api.SectorInfo{}, err
	}
	info := s.info(rec, log)
	if rec.TaskID != nil {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		// The status of a sector is of use without that of its task.
		if t, err := s.deps.Storage.TaskGet(ctx, *rec.TaskID); err == nil {
			t = t.Summary()
			info.Task = &t
		}
	}
	return info, nil
}

// SectorsSummary counts sectors by state.
func (s *Sealing) SectorsSummary(context.Context) (map[api.SectorState]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[api.SectorState]int{}
	for _, l := range s.lanes {
		out[l.rec.State]++
	}
	return out, nil
}

// SectorsFaults lists the faulty sectors, also those of no record here.
func (s *Sealing) SectorsFaults(context.Context) ([]api.ChainFault, error) {
	if s.deps.Faults == nil {
		return []api.ChainFault{}, nil
	}
	return append([]api.ChainFault{}, s.deps.Faults.List()...), nil
}

// PledgeSector starts a sector of zeros.
func (s *Sealing) PledgeSector(ctx context.Context) (abi.SectorID, error) {
	if err := s.provable(); err != nil {
		return abi.SectorID{}, err
	}
	s.alloc.Lock()
	defer s.alloc.Unlock()
	l, err := s.newSector(ctx, record{State: api.SectorPacking, CC: true})
	if err != nil {
		return abi.SectorID{}, fmt.Errorf("pledge a sector: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id(l.rec.Number), nil
}

// SectorStartSealing closes an open sector to more pieces.
func (s *Sealing) SectorStartSealing(ctx context.Context, n abi.SectorNumber) error {
	l, err := s.lane(n)
	if err != nil {
		return err
	}
	s.mu.Lock()
	open, empty := accepts(l.rec), l.rec.deals() == 0
	s.mu.Unlock()
	if !open || empty {
		reason := "it is not open for pieces"
		if open {
			reason = "it holds no pieces"
		}
		return &api.ErrInvalid{What: "start sealing of " + s.name(n), Reason: reason, Hint: "see sectors status"}
	}
	if err := s.amend(ctx, l, func(r *record) { r.StartRequested = true }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kick(l)
	return nil
}

// SectorRetry tries at once what waits for its next try.
func (s *Sealing) SectorRetry(ctx context.Context, n abi.SectorNumber) error {
	l, err := s.lane(n)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case machine[l.rec.State].Effect == effRetry:
		return s.outside(ctx, l, event{Kind: evRetry, Reason: "asked for"})
	case !l.rec.NextRetry.IsZero() && machine[l.rec.State].Effect != effNone:
		rec := l.rec.clone()
		rec.NextRetry = time.Time{}
		if err := s.store.put(ctx, rec); err != nil {
			return err
		}
		l.rec = rec
		s.kick(l)
		return nil
	case machine[l.rec.State].Effect == effNone:
		return &api.ErrInvalid{What: "retry of " + s.name(n), Reason: fmt.Sprintf("state %s waits for no retry", l.rec.State)}
	}
	s.kick(l)
	return s.retryTask(ctx, l.rec)
}

// retryTask lets the task that a sector waits for be tried at once. One that runs
// goes on.
func (s *Sealing) retryTask(ctx context.Context, r record) error {
	if r.TaskID == nil {
		return nil
	}
	err := s.deps.Storage.TaskRetry(ctx, *r.TaskID)
	var gone *api.ErrNotFound
	if err != nil && !errors.As(err, &gone) {
		return fmt.Errorf("retry of %s: %w", s.name(r.Number), err)
	}
	return nil
}

// SectorRemove deletes the files and gives the sector up. A sector that the
// chain expects proofs of is refused.
func (s *Sealing) SectorRemove(ctx context.Context, n abi.SectorNumber) error {
	l, err := s.lane(n)
	if err != nil {
		return err
	}
	o, err := s.look(ctx, n, nil)
	if err != nil {
		return err
	}
	if o.sector != nil {
		return &api.ErrInvalid{What: "removal of " + s.name(n), Reason: "the sector is on chain and must be proven",
			Hint: "terminate it first or wait until it has expired"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch l.rec.State {
	case api.SectorRemoved, api.SectorRemoving:
		return nil
	case api.SectorSubmitCommit, api.SectorCommitWait: // its deals would be active, and its files gone
		return &api.ErrInvalid{What: "removal of " + s.name(n), Reason: "its proof may be on its way to the chain",
			Hint: "wait until the message has landed or failed"}
	}
	if err := s.outside(ctx, l, event{Kind: evRemove, Reason: "asked for"}); err != nil {
		return err
	}
	if l.stop != nil {
		l.stop()
	}
	return nil
}

// lane finds a sector that something is to be done with.
func (s *Sealing) lane(n abi.SectorNumber) (*lane, error) {
	l, err := s.find(n)
	if err == nil && l.poisoned != nil {
		return nil, &api.ErrInvalid{What: "sector " + s.name(n), Reason: l.poisoned.Error(), Hint: poisonHint}
	}
	return l, err
}

func (s *Sealing) find(n abi.SectorNumber) (*lane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.lanes[n]
	if !ok {
		return nil, &api.ErrNotFound{What: "sector " + s.name(n), Hint: "see sectors list"}
	}
	return l, nil
}

func (s *Sealing) get(n abi.SectorNumber) (record, error) {
	l, err := s.find(n)
	if err != nil {
		return record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.rec.clone(), nil
}

func (s *Sealing) info(r record, log bool) api.SectorInfo {
	out := api.SectorInfo{
		Sector:       s.ref(r),
		State:        r.State,
		TicketEpoch:  r.TicketEpoch,
		SeedEpoch:    r.SeedEpoch,
		CommD:        r.CommD,
		CommR:        r.CommR,
		PreCommitMsg: r.PreCommitMsg,
		CommitMsg:    r.CommitMsg,
		Expiration:   r.Expiration,
		Retries:      r.Retries,
		LastErr:      r.LastErr,
		NextRetry:    r.NextRetry,
		Created:      r.Created,
		Updated:      r.Updated,
		Pieces:       []api.SectorPiece{},
	}
	if s.deps.Faults != nil {
		out.Fault = s.deps.Faults.Fault(r.Number)
	}
	if u := r.Update; u != nil {
		out.UpdateSealed, out.UpdateUnsealed, out.UpdateMsg = u.CommR, u.CommD, u.Msg
	}
	for _, p := range r.Pieces {
		out.Pieces = append(out.Pieces, api.SectorPiece{Piece: p.Info, Offset: p.Offset, DealInfo: p.Deal})
	}
	if log {
		out.Log = slices.Clone(r.Log)
	}
	return out
}

// unsealing is a range being made readable, shared by all who asked for it.
type unsealing struct {
	done chan struct{}
	err  error
}

// SectorUnseal has the range computed back from the replica. Callers of the
// same range share one task; it goes on when they leave.
func (s *Sealing) SectorUnseal(ctx context.Context, t api.UnsealTarget) error {
	rec, err := s.get(t.Sector)
	if err != nil {
		return err
	}
	size := abi.PaddedPieceSize(s.size)
	switch {
	case t.Size == 0 || t.Offset > size || t.Size > size-t.Offset || t.Offset%minPiece != 0 || t.Size%minPiece != 0:
		return &api.ErrInvalid{What: "unseal " + s.name(t.Sector),
			Reason: fmt.Sprintf("range %d+%d is not a range of 128-byte units of a %d-byte sector", t.Offset, t.Size, size)}
	case rec.CommR == nil || rec.CommD == nil || rec.Update != nil && rec.Update.CommD == nil,
		rec.State == api.SectorRemoving, rec.State == api.SectorRemoved:
		return &api.ErrInvalid{What: "unseal " + s.name(t.Sector), Reason: fmt.Sprintf("there is no replica in state %s", rec.State)}
	}
	u, err := s.startUnseal(t, rec)
	if err != nil {
		return err
	}
	select {
	case <-u.done:
		return u.err
	case <-ctx.Done():
		return fmt.Errorf("unsealing of %s goes on: %w", s.name(t.Sector), ctx.Err())
	}
}

func (s *Sealing) startUnseal(t api.UnsealTarget, rec record) (*unsealing, error) {
	s.unsealMu.Lock()
	defer s.unsealMu.Unlock()
	if u, ok := s.unseals[t]; ok {
		return u, nil
	}
	s.mu.Lock()
	run := s.running
	if run != nil {
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if run == nil {
		return nil, &api.ErrBusy{What: "sealing", Reason: "it is not running"}
	}
	u := &unsealing{done: make(chan struct{})}
	s.unseals[t] = u
	go func() {
		defer s.wg.Done()
		u.err = s.catch.Do("the unsealing of sector "+s.name(t.Sector), func() error { return s.unseal(run, t, rec) })
		s.unsealMu.Lock()
		delete(s.unseals, t)
		s.unsealMu.Unlock()
		close(u.done)
	}()
	return u, nil
}

// unseal runs the task and forgets it: the copy may be dropped some day and
// the same range asked for again under the same key. A result left by an
// earlier process is therefore not trusted either.
func (s *Sealing) unseal(ctx context.Context, t api.UnsealTarget, r record) error {
	params := api.UnsealParams{Ticket: r.Ticket, UnsealedCID: api.CidString(r.CommD.String()), Offset: t.Offset, Size: t.Size}
	if u := r.Update; u != nil {
		params.UnsealedCID, params.SectorKeyCID = api.CidString(u.CommD.String()), api.CidString(r.CommR.String())
	}
	spec, err := api.Unseal.Spec(fmt.Sprintf("%s/UNS/%d+%d", s.name(t.Sector), t.Offset, t.Size), s.ref(r), params)
	if err != nil {
		return err
	}
	st, err := s.deps.Storage.TaskSubmit(ctx, spec)
	if err == nil && st.Final() {
		if err = s.deps.Storage.TaskForget(ctx, st.ID); err == nil {
			st, err = s.deps.Storage.TaskSubmit(ctx, spec)
		}
	}
	for err == nil && !st.Final() {
		if st, err = s.deps.Storage.TaskWait(ctx, st.ID); err == nil {
			err = ctx.Err() // the state so far is no answer to a caller who is gone
		}
	}
	if err != nil {
		return fmt.Errorf("unseal %s: %w", s.name(t.Sector), err)
	}
	if err := s.deps.Storage.TaskForget(ctx, st.ID); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Debug("unseal task not dropped", "sector", s.name(t.Sector), "err", err)
	}
	if _, err := api.Unseal.Result(st); err != nil {
		return fmt.Errorf("unseal %s: task %s failed: %w", s.name(t.Sector), spec.Key, err)
	}
	return nil
}
