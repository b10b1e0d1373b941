package window

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

var recoveryPrefix = datastore.NewKey("/recovery")

// recovery is a sector that was declared recovered and is not proven since.
type recovery struct {
	Print  string         // what its files looked like when it was declared
	Open   abi.ChainEpoch // of the deadline it was declared for
	Failed bool           // it could not be proven then, through its own fault
	Why    string         `json:",omitempty"`
}

func recoveryKey(n uint64) datastore.Key {
	return recoveryPrefix.ChildString(strconv.FormatUint(n, 10))
}

// recoveries reads all of them.
func (b *book) recoveries(ctx context.Context) (map[uint64]recovery, error) {
	res, err := b.store.Query(ctx, query.Query{Prefix: recoveryPrefix.String()})
	if err != nil {
		return nil, fmt.Errorf("list declared recoveries: %w", err)
	}
	defer res.Close() //nolint:errcheck // read only
	out := map[uint64]recovery{}
	for r := range res.Next() {
		if r.Error != nil {
			return nil, fmt.Errorf("list declared recoveries: %w", r.Error)
		}
		n, err := strconv.ParseUint(datastore.RawKey(r.Key).Name(), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("declared recovery %s: its key is no sector number", r.Key)
		}
		var v recovery
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return nil, fmt.Errorf("declared recovery of sector %d is damaged: %w", n, err)
		}
		out[n] = v
	}
	return out, nil
}

// keepRecoveries writes recoveries down, or takes those out that are nil, in one
// batch and durably.
func (b *book) keepRecoveries(ctx context.Context, set map[uint64]*recovery) error {
	if len(set) == 0 {
		return nil
	}
	batch, err := b.store.Batch(ctx)
	if err != nil {
		return fmt.Errorf("write down %d recoveries: %w", len(set), err)
	}
	for n, r := range set {
		if r == nil {
			err = errors.Join(err, batch.Delete(ctx, recoveryKey(n)))
			continue
		}
		v, e := json.Marshal(r)
		err = errors.Join(err, e, batch.Put(ctx, recoveryKey(n), v))
	}
	if err == nil {
		err = batch.Commit(ctx)
	}
	if err == nil {
		err = b.store.Sync(ctx, recoveryPrefix)
	}
	if err != nil {
		return fmt.Errorf("write down %d recoveries: %w", len(set), err)
	}
	return nil
}

// failedAgain writes down which sectors were declared recovered and are not
// readable now through their own fault: they are not declared again before
// something about their files has changed.
func (s *Scheduler) failedAgain(ctx context.Context, open abi.ChainEpoch, b batch, why map[uint64]api.SectorFault) error {
	old, err := s.book.recoveries(ctx)
	if err != nil {
		return err
	}
	set := map[uint64]*recovery{}
	for _, p := range b {
		for _, n := range p.again {
			f, bad := why[n]
			if !bad || !f.Reason.Certain() && f.Reason != api.FaultUnreadable {
				continue
			}
			if r := (recovery{Print: old[n].Print, Open: open, Failed: true, Why: f.String()}); r != old[n] {
				set[n] = &r
			}
		}
	}
	return s.book.keepRecoveries(ctx, set)
}

// RetryRecoveries forgets that sectors failed after they were declared recovered:
// each that can be read is declared once more, before its next deadline.
func (s *Scheduler) RetryRecoveries(ctx context.Context, sectors []abi.SectorNumber) error {
	old, err := s.book.recoveries(ctx)
	if err != nil {
		return err
	}
	set := map[uint64]*recovery{}
	for _, n := range sectors {
		if _, ok := old[uint64(n)]; !ok {
			return &api.ErrNotFound{
				What: fmt.Sprintf("a failed recovery of sector %d", n),
				Hint: "a sector that was not declared recovered before is declared by itself as soon as it can be read",
			}
		}
		set[uint64(n)] = nil
	}
	return s.book.keepRecoveries(ctx, set)
}
