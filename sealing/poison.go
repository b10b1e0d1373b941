package sealing

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// poison is a stored record that cannot be used.
type poison struct {
	raw []byte
	why error
}

const poisonHint = "restore the store from a backup; the record is kept as it is, and the other sectors go on"

// setAside takes a sector whose record cannot be read out of the work: it is
// shown with the reason, keeps its number, and its record is never written.
func (s *Sealing) setAside(n abi.SectorNumber, p poison) {
	why := fmt.Errorf("its stored record cannot be read: %w", p.why)
	s.log.Error("sector set aside", "sector", s.name(n), "err", why, "hint", poisonHint)
	rec := record{Number: n, ProofType: s.cfg.ProofType, State: api.SectorFailedForGood, LastErr: why.Error() + "; " + poisonHint}
	s.addLane(&lane{rec: rec, wake: make(chan struct{}, 1), poisoned: why, raw: p.raw})
}

// perhapsPlanned refuses a piece that a record set aside speaks of: planned
// again, it could end up in two sectors. Callers hold mu.
func (s *Sealing) perhapsPlanned(key string) error {
	for n, l := range s.lanes {
		if l.poisoned != nil && bytes.Contains(l.raw, []byte(key)) {
			return &api.ErrBusy{What: "piece " + key, Reason: fmt.Sprintf("it may be in sector %s, %v; %s", s.name(n), l.poisoned,
				poisonHint)}
		}
	}
	return nil
}

// actSafely is act, where a panic is a failure of this sector and no other: what
// made it is in its record, and would end the process again after each start.
func (s *Sealing) actSafely(ctx context.Context, l *lane, e effect, r record) (ev event, err error) {
	err = s.catch.Do(fmt.Sprintf("state %s of sector %s", r.State, s.name(r.Number)), func() (err error) {
		ev, err = s.act(ctx, l, e, r)
		return err
	})
	return ev, err
}
