package deals

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// Store keeps deal records. All are in memory too, as a provider lists and
// counts them often; the datastore is written, and synced, first.
type Store struct {
	ds    datastore.Batching
	mu    sync.Mutex
	deals map[api.UUID]*Record
	bySig map[cid.Cid]api.UUID
}

// OpenStore reads all deals.
func OpenStore(ctx context.Context, ds datastore.Batching) (*Store, error) {
	s := &Store{ds: ds, deals: map[api.UUID]*Record{}, bySig: map[cid.Cid]api.UUID{}}
	res, err := ds.Query(ctx, query.Query{Prefix: "/deal"})
	if err != nil {
		return nil, fmt.Errorf("read deals: %w", err)
	}
	defer res.Close()
	for e := range res.Next() {
		if e.Error != nil {
			return nil, fmt.Errorf("read deals: %w", e.Error)
		}
		r, err := decodeRecord(e.Value)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", e.Key, err)
		}
		s.deals[r.UUID], s.bySig[r.SignedCid] = r, r.UUID
	}
	return s, nil
}

func dealKey(id api.UUID) datastore.Key { return datastore.NewKey("/deal/" + id.String()) }

func (s *Store) put(ctx context.Context, r *Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode deal %s: %w", r.UUID, err)
	}
	key := dealKey(r.UUID)
	if err := s.ds.Put(ctx, key, b); err != nil {
		return fmt.Errorf("write deal %s: %w", r.UUID, err)
	}
	return s.ds.Sync(ctx, key)
}

// Insert adds a deal unless its UUID or signed proposal is known; the refusal's
// text is Boost's. The checks run under the same lock and may refuse too.
func (s *Store) Insert(ctx context.Context, r *Record, checks ...func(live []*Record) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.bySig[r.SignedCid]; ok {
		return fmt.Errorf("deal proposal is identical to deal %s (proposed at %s)", id, s.deals[id].Created.Format(time.RFC3339))
	}
	if d, ok := s.deals[r.UUID]; ok {
		return fmt.Errorf("deal has the same uuid as deal %s (proposed at %s)", d.UUID, d.Created.Format(time.RFC3339))
	}
	var live []*Record
	for _, d := range s.deals {
		if !d.Final() {
			live = append(live, d)
		}
	}
	for _, check := range checks {
		if err := check(live); err != nil {
			return err
		}
	}
	if err := s.put(ctx, r); err != nil {
		return serverError("save to db", err)
	}
	s.deals[r.UUID], s.bySig[r.SignedCid] = r.clone(), r.UUID
	return nil
}

// Update changes a deal durably and returns the new state.
func (s *Store) Update(ctx context.Context, id api.UUID, change func(*Record)) (*Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cur, ok := s.deals[id]
	if !ok {
		return nil, notFound(id)
	}
	next := cur.clone()
	change(next)
	next.Updated = time.Now()
	if err := s.put(ctx, next); err != nil {
		return nil, err
	}
	s.deals[id] = next
	return next.clone(), nil
}

// progress notes received bytes in memory only; the staging file is the truth.
func (s *Store) progress(id api.UUID, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.deals[id]; ok {
		next := r.clone()
		next.Received = n
		s.deals[id] = next
	}
}

// Get returns a copy of a deal, api.ErrNotFound when there is none.
func (s *Store) Get(id api.UUID) (*Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.deals[id]; ok {
		return r.clone(), nil
	}
	return nil, notFound(id)
}

func notFound(id api.UUID) error { return &api.ErrNotFound{What: "deal " + id.String()} }

// List returns copies, newest first.
func (s *Store) List() []*Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Record, 0, len(s.deals))
	for _, r := range s.deals {
		out = append(out, r.clone())
	}
	slices.SortFunc(out, func(a, b *Record) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.UUID.String(), b.UUID.String()))
	})
	return out
}

// Page returns at most limit deals after the one named by cursor.
func (s *Store) Page(cursor string, limit int) (api.DealPage, error) {
	all := s.List()
	if cursor != "" {
		id, err := uuid.Parse(cursor)
		if err != nil {
			return api.DealPage{}, &api.ErrInvalid{What: "deal list cursor", Reason: err.Error()}
		}
		i := slices.IndexFunc(all, func(r *Record) bool { return r.UUID == id })
		all = all[i+1:]
	}
	page := api.DealPage{Deals: []api.DealInfo{}}
	for i, r := range all {
		if i == limit {
			page.Next = all[i-1].UUID.String()
			break
		}
		info, err := r.Info(false)
		if err != nil {
			return page, err
		}
		page.Deals = append(page.Deals, info)
	}
	return page, nil
}
