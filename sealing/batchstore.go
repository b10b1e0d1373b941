package sealing

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// bundle is a message of several sectors, written down before it is sent and
// kept until each of them has noted its CID or is past needing it.
type bundle struct {
	ID      api.UUID
	Work    jobKind
	Numbers []abi.SectorNumber
	Keys    []string // of the messages that the sectors would have sent alone, in the order of the message
	Message *api.Message

	mu      sync.Mutex
	refused error // by the node, and dropped
}

// batches are those that are kept, by the keys of their members.
type batches struct {
	mu    sync.Mutex
	byKey map[string]*bundle
}

var batchesPrefix = datastore.NewKey("/batches")

func (b *bundle) key() datastore.Key { return batchesPrefix.ChildString(b.ID.String()) }

// load reads the batches that are kept. One that cannot be read is left where it
// is: its sectors look on chain before they send alone.
func (bs *batches) load(ctx context.Context, st store, log *slog.Logger) error {
	bs.byKey = map[string]*bundle{}
	res, err := st.ds.Query(ctx, query.Query{Prefix: batchesPrefix.String()})
	if err != nil {
		return fmt.Errorf("list stored messages of several sectors: %w", err)
	}
	entries, err := res.Rest()
	if err != nil {
		return fmt.Errorf("list stored messages of several sectors: %w", err)
	}
	for _, e := range entries {
		b := new(bundle)
		if err := json.Unmarshal(e.Value, b); err != nil || b.Message == nil {
			log.Error("a stored message of several sectors cannot be read, they send their own", "key", e.Key, "err", err)
			continue
		}
		bs.index(b)
	}
	return nil
}

// index makes the members findable. Callers hold mu or own bs.
func (bs *batches) index(b *bundle) {
	for _, k := range b.Keys {
		bs.byKey[k] = b
	}
}

func (bs *batches) of(key string) *bundle {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	return bs.byKey[key]
}

func (bs *batches) add(ctx context.Context, st store, b *bundle) error {
	raw, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode message of %d sectors: %w", len(b.Keys), err)
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if err := st.ds.Put(ctx, b.key(), raw); err != nil {
		return fmt.Errorf("store message of %d sectors: %w", len(b.Keys), err)
	}
	if err := st.ds.Sync(ctx, b.key()); err != nil {
		return fmt.Errorf("sync message of %d sectors: %w", len(b.Keys), err)
	}
	bs.index(b)
	return nil
}

func (bs *batches) drop(ctx context.Context, st store, b *bundle) error {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if err := st.ds.Delete(ctx, b.key()); err != nil {
		return fmt.Errorf("drop message of %d sectors: %w", len(b.Keys), err)
	}
	for _, k := range b.Keys {
		if bs.byKey[k] == b {
			delete(bs.byKey, k)
		}
	}
	return nil
}

func (bs *batches) all() []*bundle {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	var out []*bundle
	for _, b := range bs.byKey {
		if !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	return out
}

// asking are the states from which a sector may still come to ask for its
// message.
var asking = map[jobKind][]api.SectorState{
	jobPreCommit: {api.SectorPreCommitting, api.SectorPreCommitFailed},
	jobCommit:    {api.SectorWaitSeed, api.SectorCommitting, api.SectorSubmitCommit, api.SectorCommitFailed, api.SectorComputeFailed},
}

// tidyBatches drops the batches that no sector will ask for. It is
// housekeeping: what cannot be dropped now is dropped another time.
func (s *Sealing) tidyBatches(ctx context.Context) {
	for _, b := range s.batches.all() {
		if !slices.ContainsFunc(b.Numbers, func(n abi.SectorNumber) bool { return s.asks(n, b) }) {
			if err := s.batches.drop(ctx, s.store, b); err != nil {
				s.log.Debug("message of several sectors not dropped", "batch", b.ID, "err", err)
			}
		}
	}
}

func (s *Sealing) asks(n abi.SectorNumber, b *bundle) bool {
	r, err := s.get(n)
	return err == nil && slices.Contains(asking[b.Work], r.State) && slices.Contains(b.Keys, s.msgKey(r, job{kind: b.Work}))
}
