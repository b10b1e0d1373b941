package window

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// maxRecent is what ProvingStatus promises.
const maxRecent = 64

var (
	tallyKey      = datastore.NewKey("/tally")
	pendingPrefix = datastore.NewKey("/pending")
)

// tally is the part of the status that outlives the process.
type tally struct {
	Accepted uint64
	Failed   uint64
	Recent   []api.PoStRecord
}

// pending is a message that is about to be sent or on its way.
type pending struct {
	Key    string
	Close  abi.ChainEpoch
	Record api.PoStRecord
}

// book keeps the tally and the pending messages on disk. A message is counted
// when its pending entry is taken out, in one batch, hence exactly once.
type book struct {
	mu    sync.Mutex
	store datastore.Batching
	tally tally
}

func openBook(ctx context.Context, store datastore.Batching) (*book, error) {
	b := &book{store: store}
	v, err := store.Get(ctx, tallyKey)
	if errors.Is(err, datastore.ErrNotFound) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(v, &b.tally)
	}
	if err != nil {
		return nil, fmt.Errorf("read the tally of window PoSts: %w", err)
	}
	return b, nil
}

func pendingKey(key string) datastore.Key { return pendingPrefix.ChildString(key) }

// intend writes down a message before it is sent.
func (b *book) intend(ctx context.Context, p pending) error {
	v, err := json.Marshal(p)
	if err == nil {
		err = b.store.Put(ctx, pendingKey(p.Key), v)
	}
	if err == nil {
		err = b.store.Sync(ctx, pendingKey(p.Key))
	}
	if err != nil {
		return fmt.Errorf("write down the window PoSt %s before sending it: %w", p.Key, err)
	}
	return nil
}

// settle counts the outcome of a pending message, once.
func (b *book) settle(ctx context.Context, key string, r api.PoStRecord) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	has, err := b.store.Has(ctx, pendingKey(key))
	if err != nil || !has {
		return err
	}
	if err := b.count(ctx, r, pendingKey(key)); err != nil {
		return fmt.Errorf("count window PoSt %s: %w", key, err)
	}
	return nil
}

// missed counts a deadline for which nothing was ever sent.
func (b *book) missed(ctx context.Context, r api.PoStRecord) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.count(ctx, r); err != nil {
		return fmt.Errorf("count the missed deadline %d of %d: %w", r.Deadline, r.Open, err)
	}
	return nil
}

// count adds a record to the tally and takes entries out, in one batch.
func (b *book) count(ctx context.Context, r api.PoStRecord, out ...datastore.Key) error {
	next := b.tally
	if r.Accepted {
		next.Accepted++
	} else {
		next.Failed++
	}
	next.Recent = append([]api.PoStRecord{r}, b.tally.Recent...)
	next.Recent = next.Recent[:min(len(next.Recent), maxRecent)]
	v, err := json.Marshal(next)
	if err != nil {
		return err
	}
	batch, err := b.store.Batch(ctx)
	if err != nil {
		return err
	}
	err = batch.Put(ctx, tallyKey, v)
	for _, k := range out {
		err = errors.Join(err, batch.Delete(ctx, k))
	}
	if err == nil {
		err = batch.Commit(ctx)
	}
	if err == nil {
		err = b.store.Sync(ctx, datastore.NewKey("/"))
	}
	if err != nil {
		return err
	}
	b.tally = next
	return nil
}

// drop takes out a pending message without counting it.
func (b *book) drop(ctx context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.store.Delete(ctx, pendingKey(key)); err != nil {
		return fmt.Errorf("drop window PoSt %s: %w", key, err)
	}
	return b.store.Sync(ctx, pendingPrefix)
}

// open lists what was pending when the process ended.
func (b *book) open(ctx context.Context) ([]pending, error) {
	res, err := b.store.Query(ctx, query.Query{Prefix: pendingPrefix.String()})
	if err != nil {
		return nil, fmt.Errorf("list pending window PoSts: %w", err)
	}
	defer res.Close()
	var out []pending
	for r := range res.Next() {
		if r.Error != nil {
			return nil, fmt.Errorf("list pending window PoSts: %w", r.Error)
		}
		var p pending
		if err := json.Unmarshal(r.Value, &p); err != nil {
			return nil, fmt.Errorf("pending window PoSt %s is damaged: %w", r.Key, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (b *book) snapshot() tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tally
	t.Recent = append([]api.PoStRecord(nil), t.Recent...)
	return t
}
