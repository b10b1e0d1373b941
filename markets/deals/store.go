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

// Store keeps deal records. All are in memory too, by identifier and by age, as a
// provider lists and counts them often; the datastore is written, and synced,
// first. A record in memory is never changed, only replaced: who reads holds the
// lock for as long as it takes to pick records, whatever is being written.
type Store struct {
	ds        datastore.Batching
	inserting sync.Mutex // one new deal at a time: each counts those before it

	mu      sync.Mutex // guards what follows; never held during a write to ds
	rows    map[api.UUID]*row
	bySig   map[cid.Cid]api.UUID
	byAge   []*row            // the oldest first
	open    map[api.UUID]*row // those that are not over
	touched uint64            // rows looked at while mu was held: what lists cost others
}

// row is a deal with its place in the store.
type row struct {
	op       sync.Mutex // held by whoever changes the deal, also while that is written
	rec      *Record    // read only
	received uint64     // bytes, ahead of rec: the staging file is the truth
	poisoned error      // why the stored record cannot be read; it is never written
}

// age is the order of lists, the oldest first.
func age(a, b *row) int {
	return cmp.Or(a.rec.Created.Compare(b.rec.Created), cmp.Compare(b.rec.UUID.String(), a.rec.UUID.String()))
}

// OpenStore reads all deals. A record that cannot be read stops its own deal and
// no other: it is shown with the reason and stays as it is.
func OpenStore(ctx context.Context, ds datastore.Batching) (*Store, error) {
	s := &Store{ds: ds, rows: map[api.UUID]*row{}, bySig: map[cid.Cid]api.UUID{}, open: map[api.UUID]*row{}}
	res, err := ds.Query(ctx, query.Query{Prefix: "/deal"})
	if err != nil {
		return nil, fmt.Errorf("read deals: %w", err)
	}
	defer res.Close()
	for e := range res.Next() {
		if e.Error != nil {
			return nil, fmt.Errorf("read deals: %w", e.Error)
		}
		id, err := uuid.Parse(datastore.RawKey(e.Key).Name())
		if err != nil {
			return nil, fmt.Errorf("stored deal %s has no UUID: %w", e.Key, err) // nothing of ours writes that
		}
		w := readRow(id, e.Value)
		s.byAge = append(s.byAge, w)
		s.note(w)
	}
	slices.SortFunc(s.byAge, age)
	return s, nil
}

const poisonHint = "restore the store of the markets node from a backup; the record is kept as it is, and the other deals go on"

func readRow(id api.UUID, b []byte) *row {
	r, err := decodeRecord(b)
	if err == nil && r.UUID != id {
		err = fmt.Errorf("it is the record of deal %s", r.UUID)
	}
	if err == nil {
		return &row{rec: r, received: r.Received}
	}
	why := fmt.Errorf("the stored record of deal %s cannot be read: %w", id, err)
	return &row{poisoned: why, rec: &Record{
		UUID:        id,
		Err:         why.Error() + "; " + poisonHint,
		Fault:       api.FaultStore,
		Retry:       api.DealRetryManual,
		SectorStart: -1,
	}}
}

// SetAside tells why the records that cannot be read cannot.
func (s *Store) SetAside() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []error
	for _, w := range s.byAge {
		if w.poisoned != nil {
			out = append(out, w.poisoned)
		}
	}
	return out
}

// note makes a row known by its keys, or notes that it has changed. Callers hold mu.
func (s *Store) note(w *row) {
	s.rows[w.rec.UUID] = w
	if w.rec.SignedCid.Defined() {
		s.bySig[w.rec.SignedCid] = w.rec.UUID
	}
	if w.rec.Final() {
		delete(s.open, w.rec.UUID)
	} else {
		s.open[w.rec.UUID] = w
	}
}

// copy is the deal as it is now, for the caller to change. Callers hold mu.
func (s *Store) copy(w *row) *Record {
	s.touched++
	c := w.rec.clone()
	c.Received = w.received
	return c
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
// text is Boost's. The checks see the deals that are not over, and may refuse too;
// no other deal is added meanwhile.
func (s *Store) Insert(ctx context.Context, r *Record, checks ...func(live []*Record) error) error {
	s.inserting.Lock()
	defer s.inserting.Unlock()
	live, err := s.admit(r)
	if err != nil {
		return err
	}
	for _, check := range checks {
		if err := check(live); err != nil {
			return err
		}
	}
	if err := s.put(ctx, r); err != nil {
		return serverError("save to db", err)
	}
	w := &row{rec: r.clone(), received: r.Received}
	w.rec.Created = r.Created.Round(0) // as it will be read back: what orders lists must not change with a restart
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.byAge, w, age)
	s.byAge = slices.Insert(s.byAge, i, w)
	s.note(w)
	return nil
}

// admit refuses a deal that is known, and gives those that are not over.
func (s *Store) admit(r *Record) ([]*Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.bySig[r.SignedCid]; ok {
		return nil, fmt.Errorf("deal proposal is identical to deal %s (proposed at %s)", id, s.rows[id].rec.Created.Format(time.RFC3339))
	}
	if w, ok := s.rows[r.UUID]; ok {
		return nil, fmt.Errorf("deal has the same uuid as deal %s (proposed at %s)", r.UUID, w.rec.Created.Format(time.RFC3339))
	}
	live := make([]*Record, 0, len(s.open))
	for _, w := range s.open {
		live = append(live, s.copy(w))
	}
	return live, nil
}

func (s *Store) row(id api.UUID) (*row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.rows[id]; ok {
		return w, nil
	}
	return nil, notFound(id)
}

// Update changes a deal durably and returns the new state. It waits for other
// changes of the same deal only. *api.ErrInvalid for one whose record cannot be
// read.
func (s *Store) Update(ctx context.Context, id api.UUID, change func(*Record)) (*Record, error) {
	w, err := s.row(id)
	if err != nil {
		return nil, err
	}
	if w.poisoned != nil {
		return nil, &api.ErrInvalid{What: "deal " + id.String(), Reason: w.poisoned.Error(), Hint: poisonHint}
	}
	w.op.Lock()
	defer w.op.Unlock()
	s.mu.Lock()
	next := s.copy(w)
	s.mu.Unlock()
	before := next.Received
	change(next)
	next.Updated = time.Now()
	if err := s.put(ctx, next); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.Received != before {
		w.received = next.Received
	}
	w.rec = next
	s.note(w)
	return s.copy(w), nil
}

// progress notes received bytes in memory only; the staging file is the truth.
func (s *Store) progress(id api.UUID, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.rows[id]; ok {
		w.received = n
	}
}

// Get returns a copy of a deal, api.ErrNotFound when there is none.
func (s *Store) Get(id api.UUID) (*Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.rows[id]; ok {
		return s.copy(w), nil
	}
	return nil, notFound(id)
}

func notFound(id api.UUID) error { return &api.ErrNotFound{What: "deal " + id.String()} }
