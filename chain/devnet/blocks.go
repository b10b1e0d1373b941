package devnet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	block "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	cbor "github.com/ipfs/go-ipld-cbor"

	"github.com/filecoin-project/go-state-types/abi"
)

// errNoBlock is wrapped by reads of blocks that are not here.
var errNoBlock = errors.New("block not found")

// cacheBytes bounds each of the two generations of the read cache.
const cacheBytes = 32 << 20

// blocks is the content-addressed store of the chain. Writes gather in memory
// until commit puts them below, so that a tick costs one batch.
type blocks struct {
	ds      datastore.Batching
	mu      sync.RWMutex
	pending map[cid.Cid][]byte
	hot     map[cid.Cid][]byte
	cold    map[cid.Cid][]byte
	size    int
}

func newBlocks(ds datastore.Batching) *blocks {
	return &blocks{ds: ds, pending: map[cid.Cid][]byte{}, hot: map[cid.Cid][]byte{}, cold: map[cid.Cid][]byte{}}
}

func blockKey(c cid.Cid) datastore.Key { return datastore.RawKey("/b/" + c.String()) }

func (b *blocks) cached(c cid.Cid) ([]byte, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, m := range []map[cid.Cid][]byte{b.pending, b.hot, b.cold} {
		if d, ok := m[c]; ok {
			return d, true
		}
	}
	return nil, false
}

// remember adds to the young generation; the caller holds the lock.
func (b *blocks) remember(c cid.Cid, data []byte) {
	if b.size += len(data) + 64; b.size > cacheBytes {
		b.cold, b.hot, b.size = b.hot, map[cid.Cid][]byte{}, len(data)+64
	}
	b.hot[c] = data
}

// Get reads a block; an error wrapping errNoBlock when it is not here.
func (b *blocks) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	if d, ok := b.cached(c); ok {
		return d, nil
	}
	d, err := b.ds.Get(ctx, blockKey(c))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s", errNoBlock, c)
	}
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", c, err)
	}
	b.mu.Lock()
	b.remember(c, d)
	b.mu.Unlock()
	return d, nil
}

// Has tells whether a block is here.
func (b *blocks) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if _, ok := b.cached(c); ok {
		return true, nil
	}
	return b.ds.Has(ctx, blockKey(c))
}

// Put keeps a block in memory until the next commit.
func (b *blocks) Put(_ context.Context, c cid.Cid, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending[c] = data
	return nil
}

// putNow stores a block durably before it returns.
func (b *blocks) putNow(ctx context.Context, c cid.Cid, data []byte) error {
	if err := b.ds.Put(ctx, blockKey(c), data); err != nil {
		return fmt.Errorf("store block %s: %w", c, err)
	}
	return b.ds.Sync(ctx, blockKey(c))
}

// commit writes what is pending, then the records, each in one batch: a record
// on disk never names a block that is not.
func (b *blocks) commit(ctx context.Context, records map[string][]byte) error {
	b.mu.RLock()
	todo := maps.Clone(b.pending)
	b.mu.RUnlock()
	if len(todo) > 0 {
		batch, err := b.ds.Batch(ctx)
		if err != nil {
			return fmt.Errorf("commit blocks: %w", err)
		}
		for c, d := range todo {
			if err := batch.Put(ctx, blockKey(c), d); err != nil {
				return fmt.Errorf("commit block %s: %w", c, err)
			}
		}
		if err := batch.Commit(ctx); err != nil {
			return fmt.Errorf("commit blocks: %w", err)
		}
	}
	if err := putRecords(ctx, b.ds, records); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for c, d := range todo {
		b.remember(c, d)
		delete(b.pending, c)
	}
	return nil
}

// putRecords writes named records in one batch and syncs; nil deletes.
func putRecords(ctx context.Context, ds datastore.Batching, records map[string][]byte) error {
	if len(records) == 0 {
		return nil
	}
	batch, err := ds.Batch(ctx)
	if err != nil {
		return fmt.Errorf("commit records: %w", err)
	}
	for k, v := range records {
		if v == nil {
			err = batch.Delete(ctx, datastore.RawKey(k))
		} else {
			err = batch.Put(ctx, datastore.RawKey(k), v)
		}
		if err != nil {
			return fmt.Errorf("commit record %s: %w", k, err)
		}
	}
	if err := batch.Commit(ctx); err != nil {
		return fmt.Errorf("commit records: %w", err)
	}
	return ds.Sync(ctx, datastore.RawKey("/"))
}

// ipld is the CBOR object view, for message lists.
func (b *blocks) ipld() cbor.IpldStore {
	s := cbor.NewCborStore(ipldBlocks{b})
	s.DefaultMultihash = uint64(abi.HashFunction)
	return s
}

type ipldBlocks struct{ b *blocks }

func (s ipldBlocks) Get(ctx context.Context, c cid.Cid) (block.Block, error) {
	d, err := s.b.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	return block.NewBlockWithCid(d, c)
}

func (s ipldBlocks) Put(ctx context.Context, blk block.Block) error {
	return s.b.Put(ctx, blk.Cid(), blk.RawData())
}
