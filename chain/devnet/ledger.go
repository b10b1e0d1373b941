package devnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// Record names in the chain's datastore.
const (
	recHead   = "/head"   // tipset key bytes
	recEpoch  = "/epoch"  // last closed epoch
	recSpine  = "/spine/" // + height: tipset key of the canonical chain
	recResult = "/exec/"  // + tipset key CID: state and receipts roots
	recMsg    = "/msg/"   // + message CID: where it is included
	recUUID   = "/uuid/"  // + MsgUuid: signed message
	recPool   = "/pool/"  // + message CID: pending signed message
	recSigned = "/sig/"   // + message CID: BLS message with its signature
	recFunds  = "/funds/" // + ID address: reserved escrow
	recParams = "/params" // JSON of Params
)

// ledger knows tipsets and which of them are canonical.
type ledger struct {
	blocks *blocks
	ds     datastore.Batching

	mu      sync.RWMutex
	head    *api.TipSet
	spine   []spineEntry // ascending heights, ends with head
	tipsets map[string]*api.TipSet
}

type spineEntry struct {
	height abi.ChainEpoch
	key    api.TipSetKey
}

const tipsetCache = 20_000

func newLedger(b *blocks, ds datastore.Batching) *ledger {
	return &ledger{blocks: b, ds: ds, tipsets: map[string]*api.TipSet{}}
}

func spineKey(h abi.ChainEpoch) string { return fmt.Sprintf("%s%016x", recSpine, uint64(h)) }

// load reads head and spine; false when the store is empty.
func (l *ledger) load(ctx context.Context) (bool, error) {
	raw, err := l.ds.Get(ctx, datastore.RawKey(recHead))
	if errors.Is(err, datastore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read head: %w", err)
	}
	key, err := parseKey(raw)
	if err != nil {
		return false, fmt.Errorf("decode head: %w", err)
	}
	if l.head, err = l.tipset(ctx, key); err != nil {
		return false, fmt.Errorf("load head: %w", err)
	}
	res, err := l.ds.Query(ctx, query.Query{Prefix: recSpine})
	if err != nil {
		return false, fmt.Errorf("read chain index: %w", err)
	}
	all, err := res.Rest()
	if err != nil {
		return false, fmt.Errorf("read chain index: %w", err)
	}
	for _, e := range all {
		var h uint64
		if _, err := fmt.Sscanf(e.Key[len(recSpine):], "%x", &h); err != nil {
			return false, fmt.Errorf("chain index key %q: %w", e.Key, err)
		}
		k, err := parseKey(e.Value)
		if err != nil {
			return false, fmt.Errorf("chain index at %d: %w", h, err)
		}
		if abi.ChainEpoch(h) <= l.head.Height {
			l.spine = append(l.spine, spineEntry{abi.ChainEpoch(h), k})
		}
	}
	sort.Slice(l.spine, func(i, j int) bool { return l.spine[i].height < l.spine[j].height })
	if n := len(l.spine); n == 0 || !l.spine[n-1].key.Equal(key) {
		return false, errors.New("chain index does not end at the head: restore the repo from a backup")
	}
	return true, nil
}

func parseKey(b []byte) (api.TipSetKey, error) {
	var k api.TipSetKey
	for len(b) > 0 {
		n, c, err := cid.CidFromBytes(b)
		if err != nil {
			return nil, err
		}
		k, b = append(k, c), b[n:]
	}
	return k, nil
}

// Head is the heaviest tipset.
func (l *ledger) Head() *api.TipSet {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head
}

// tipset reads a tipset by key; empty means the head.
func (l *ledger) tipset(ctx context.Context, k api.TipSetKey) (*api.TipSet, error) {
	if len(k) == 0 {
		return l.Head(), nil
	}
	id := string(k.Bytes())
	l.mu.RLock()
	ts, ok := l.tipsets[id]
	l.mu.RUnlock()
	if ok {
		return ts, nil
	}
	var hs []*api.BlockHeader
	for _, c := range k {
		h, err := l.header(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("load tipset %s: %w", k, err)
		}
		hs = append(hs, h)
	}
	ts, err := api.NewTipSet(hs)
	if err != nil {
		return nil, fmt.Errorf("load tipset %s: %w", k, err)
	}
	if !ts.Key().Equal(k) {
		return nil, &api.ErrInvalid{What: "tipset key " + k.String(), Reason: "its blocks are not in ticket order"}
	}
	l.remember(ts)
	return ts, nil
}

func (l *ledger) remember(ts *api.TipSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.tipsets) >= tipsetCache {
		clear(l.tipsets)
	}
	l.tipsets[string(ts.Key().Bytes())] = ts
}

func (l *ledger) header(ctx context.Context, c cid.Cid) (*api.BlockHeader, error) {
	raw, err := l.blocks.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	return api.DecodeBlockHeader(raw)
}

func (l *ledger) parent(ctx context.Context, ts *api.TipSet) (*api.TipSet, error) {
	if ts.Height == 0 {
		return nil, errors.New("the genesis tipset has no parent")
	}
	return l.tipset(ctx, ts.Parents())
}

// position finds ts in the spine, -1 when it is not canonical.
func (l *ledger) position(ts *api.TipSet) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := sort.Search(len(l.spine), func(i int) bool { return l.spine[i].height >= ts.Height })
	if i < len(l.spine) && l.spine[i].height == ts.Height && l.spine[i].key.Equal(ts.Key()) {
		return i
	}
	return -1
}

// at reads the i-th canonical tipset.
func (l *ledger) at(ctx context.Context, i int) (*api.TipSet, error) {
	l.mu.RLock()
	if i < 0 || i >= len(l.spine) {
		l.mu.RUnlock()
		return nil, fmt.Errorf("no canonical tipset at position %d", i)
	}
	k := l.spine[i].key
	l.mu.RUnlock()
	return l.tipset(ctx, k)
}

// atOrAfter is the first tipset at or after epoch in the ancestry of ts.
func (l *ledger) atOrAfter(ctx context.Context, ts *api.TipSet, epoch abi.ChainEpoch) (*api.TipSet, error) {
	if epoch > ts.Height {
		return nil, fmt.Errorf("looking for tipset with height greater than start point: %d > %d", epoch, ts.Height)
	}
	for {
		if pos := l.position(ts); pos >= 0 {
			l.mu.RLock()
			i := sort.Search(pos+1, func(i int) bool { return l.spine[i].height >= epoch })
			l.mu.RUnlock()
			return l.at(ctx, i)
		}
		p, err := l.parent(ctx, ts)
		if err != nil {
			return nil, err
		}
		if p.Height < epoch {
			return ts, nil
		}
		ts = p
	}
}

// atOrBefore is the last tipset at or before epoch in the ancestry of ts.
func (l *ledger) atOrBefore(ctx context.Context, ts *api.TipSet, epoch abi.ChainEpoch) (*api.TipSet, error) {
	ts, err := l.atOrAfter(ctx, ts, epoch)
	if err != nil || ts.Height == epoch {
		return ts, err
	}
	return l.parent(ctx, ts)
}

// below is the tipset so many epochs before another, or the last before that;
// genesis where there is none.
func (l *ledger) below(ctx context.Context, ts *api.TipSet, epochs abi.ChainEpoch) (*api.TipSet, error) {
	return l.atOrBefore(ctx, ts, max(0, ts.Height-epochs))
}

// path lists what to revert and what to apply to go from one tipset to another.
func (l *ledger) path(ctx context.Context, from, to *api.TipSet) (revert, apply []*api.TipSet, err error) {
	for !from.Equal(to) {
		if from.Height > to.Height || (from.Height == to.Height && from.Height > 0) {
			revert = append(revert, from)
			if from, err = l.parent(ctx, from); err != nil {
				return nil, nil, err
			}
			continue
		}
		apply = append(apply, to)
		if to, err = l.parent(ctx, to); err != nil {
			return nil, nil, err
		}
	}
	slices.Reverse(apply)
	return revert, apply, nil
}

// headRecords are the records that make ts the head on disk. The caller commits
// them before it moves the head in memory and before anybody is told.
func (l *ledger) headRecords(ts *api.TipSet, revert, apply []*api.TipSet) map[string][]byte {
	recs := map[string][]byte{recHead: ts.Key().Bytes()}
	for _, r := range revert {
		recs[spineKey(r.Height)] = nil
	}
	for _, a := range apply {
		recs[spineKey(a.Height)] = a.Key().Bytes()
	}
	return recs
}

// move applies a head change in memory.
func (l *ledger) move(ts *api.TipSet, revert, apply []*api.TipSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spine = l.spine[:len(l.spine)-len(revert)]
	for _, a := range apply {
		l.spine = append(l.spine, spineEntry{a.Height, a.Key()})
		l.tipsets[string(a.Key().Bytes())] = a
	}
	l.head = ts
}

func epochBytes(e abi.ChainEpoch) []byte { return binary.BigEndian.AppendUint64(nil, uint64(e)) }
