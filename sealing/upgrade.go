package sealing

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"quarry/api"
)

// SectorMarkForUpgrade lets a proven sector of zeros take the next deals that
// it outlives.
func (s *Sealing) SectorMarkForUpgrade(ctx context.Context, n abi.SectorNumber, snap bool) error {
	what := "upgrade of " + s.name(n)
	if !snap {
		return &api.ErrInvalid{What: what, Reason: "sectors are only upgraded by updating their replica", Hint: "pass snap = true"}
	}
	if err := s.provable(); err != nil {
		return err
	}
	l, err := s.lane(n)
	if err != nil {
		return err
	}
	o, err := s.look(ctx, n, nil)
	if err != nil {
		return err
	}
	why, hint, err := s.unproven(ctx, n, o)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.rec.State == api.SectorAvailable {
		return nil
	}
	if why := upgradeRefusal(l.rec, o); why != "" {
		return &api.ErrInvalid{What: what, Reason: why, Hint: "see sectors status"}
	}
	if why != "" {
		return &api.ErrInvalid{What: what, Reason: why, Hint: hint}
	}
	return s.outside(ctx, l, event{Kind: evMarked, Expiration: o.sector.Expiration,
		Reason: fmt.Sprintf("asked for, expires at %d", o.sector.Expiration)})
}

// upgradeRefusal says why a sector cannot take data; empty where it can.
func upgradeRefusal(r record, o onChain) string {
	switch {
	case r.State != api.SectorProving:
		return fmt.Sprintf("it is in state %s, not %s", r.State, api.SectorProving)
	case !r.CC:
		return "it was sealed with data in it"
	case r.Update != nil:
		return "it has been updated with data before"
	case o.sector == nil:
		return "it is not on chain"
	case r.CommR == nil || o.sector.SealedCID != *r.CommR:
		return "the chain holds another replica"
	case o.sector.Expiration < o.head.Height+miner.MinSectorExpiration:
		return fmt.Sprintf("it expires at epoch %d, before any deal made at %d could end", o.sector.Expiration, o.head.Height)
	}
	return ""
}

// SectorAbortUpgrade takes the mark away or gives an update up, as long as no
// message can be on its way.
func (s *Sealing) SectorAbortUpgrade(ctx context.Context, n abi.SectorNumber) error {
	l, err := s.lane(n)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.rec.State == api.SectorAbortUpgrade {
		return nil
	}
	what := "end of the upgrade of " + s.name(n)
	if _, ok := next(l.rec, evAbort); !ok {
		return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("state %s does not allow it", l.rec.State)}
	}
	if u := l.rec.Update; u != nil && u.Sending {
		return &api.ErrInvalid{What: what, Reason: "its message may be on its way", Hint: "wait until it has failed or landed"}
	}
	if err := s.outside(ctx, l, event{Kind: evAbort, Reason: "asked for"}); err != nil {
		return err
	}
	if l.stop != nil {
		l.stop()
	}
	return nil
}

// unproven says why the chain would take no update of the sector now, and when
// that may change; empty where it would.
func (s *Sealing) unproven(ctx context.Context, n abi.SectorNumber, o onChain) (why, hint string, err error) {
	if o.sector == nil {
		return "it is not on chain", "", nil
	}
	at, err := s.deps.Chain.StateSectorPartition(ctx, s.cfg.Miner, n, o.head.Key())
	if err != nil {
		return "", "", fmt.Errorf("ask for the deadline of %s: %w", s.name(n), err)
	}
	active, err := s.active(ctx, n, o.head, *at)
	if err != nil || active {
		return "", "", err
	}
	until, _, err := s.mutable(ctx, at.Deadline, o.head)
	if err != nil {
		return "", "", err
	}
	hint = fmt.Sprintf("its window PoSt is due until epoch %d (deadline %d); mark it after that", until, at.Deadline)
	return "it is faulty or was never proven", hint, nil
}

// maxUpgradeTries bounds how many marked sectors are looked up on chain for one
// piece. Those that expire first come first: they were proven longest ago.
const maxUpgradeTries = 16

// upgradable begins the update of the marked sector that outlives the deal by
// least, the oldest of equals; nil when none does, or none could be on chain in
// time: that is asked before the work. Callers hold alloc.
func (s *Sealing) upgradable(ctx context.Context, d api.PieceDealInfo) (*lane, error) {
	marked := s.marked(d)
	if len(marked) == 0 {
		return nil, nil
	}
	head, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	lead, err := s.updateLead(ctx, head)
	if err != nil {
		return nil, err
	}
	if d.StartEpoch < head.Height+lead {
		return nil, nil // its deadline may be immutable until the deal has started
	}
	for _, l := range marked[:min(len(marked), maxUpgradeTries)] {
		ok, err := s.takesUpdate(ctx, l, d)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if ok, err = s.beginUpdate(ctx, l, lead); ok || err != nil {
			return l, err
		}
	}
	return nil, nil
}

// marked lists the marked sectors that outlive the deal.
func (s *Sealing) marked(d api.PieceDealInfo) []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*lane
	for _, l := range s.lanes {
		if l.rec.State == api.SectorAvailable && l.rec.Expiration >= d.EndEpoch {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b *lane) int {
		return cmp.Or(cmp.Compare(a.rec.Expiration, b.rec.Expiration), cmp.Compare(a.rec.Number, b.rec.Number))
	})
	return out
}

// updateLead is how long before its start a deal must come for an update to be
// on chain in time whatever the deadline: the work, and the two challenge
// windows in which the chain takes no changes.
func (s *Sealing) updateLead(ctx context.Context, head *api.TipSet) (abi.ChainEpoch, error) {
	di, err := s.deps.Chain.StateMinerProvingDeadline(ctx, s.cfg.Miner, head.Key())
	if err != nil {
		return 0, fmt.Errorf("ask for the proving deadline of %s: %w", s.cfg.Miner, err)
	}
	return s.cfg.MinDealLead + 2*di.WPoStChallengeWindow + 2*mutableMargin, nil
}

// takesUpdate asks the chain whether it would take an update of the sector.
func (s *Sealing) takesUpdate(ctx context.Context, l *lane, d api.PieceDealInfo) (bool, error) {
	s.mu.Lock()
	rec := l.rec.clone()
	s.mu.Unlock()
	o, err := s.look(ctx, rec.Number, nil)
	if err != nil {
		return false, err
	}
	if o.sector == nil || rec.CommR == nil || o.sector.SealedCID != *rec.CommR || o.sector.Expiration < d.EndEpoch {
		return false, nil
	}
	why, _, err := s.unproven(ctx, rec.Number, o)
	return why == "" && err == nil, err
}

// beginUpdate is not ok when the mark was taken away meanwhile.
func (s *Sealing) beginUpdate(ctx context.Context, l *lane, lead abi.ChainEpoch) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.rec.State != api.SectorAvailable {
		return false, nil
	}
	if err := s.room(); err != nil {
		return false, err
	}
	if err := s.outside(ctx, l, event{Kind: evUpgrade, Epoch: lead}); err != nil {
		return false, fmt.Errorf("begin the update of %s: %w", s.name(l.rec.Number), err)
	}
	return true, nil
}
