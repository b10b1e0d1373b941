package sealing

import (
	"context"
	"fmt"

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
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.rec.State == api.SectorAvailable {
		return nil
	}
	if why := upgradeRefusal(l.rec, o); why != "" {
		return &api.ErrInvalid{What: what, Reason: why, Hint: "see sectors status"}
	}
	return s.outside(ctx, l, event{Kind: evMarked, Expiration: o.sector.Expiration, Reason: fmt.Sprintf("asked for, expires at %d", o.sector.Expiration)})
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

// upgradable begins the update of the marked sector that outlives the deal by
// least, the oldest of equals; nil when none does. Callers hold alloc.
func (s *Sealing) upgradable(ctx context.Context, d api.PieceDealInfo) (*lane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *lane
	for _, l := range s.lanes {
		if l.rec.State != api.SectorAvailable || l.rec.Expiration < d.EndEpoch {
			continue
		}
		if best == nil || l.rec.Expiration < best.rec.Expiration || l.rec.Expiration == best.rec.Expiration && l.rec.Number < best.rec.Number {
			best = l
		}
	}
	if best == nil {
		return nil, nil
	}
	if err := s.room(); err != nil {
		return nil, err
	}
	if err := s.outside(ctx, best, event{Kind: evUpgrade}); err != nil {
		return nil, fmt.Errorf("begin the update of %s: %w", s.name(best.rec.Number), err)
	}
	return best, nil
}
