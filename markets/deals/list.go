package deals

import (
	"slices"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/google/uuid"

	"quarry/api"
)

// Bounds of one page.
const (
	maxPage = 1000   // deals
	maxLook = 10_000 // deals looked at, where most are not wanted
)

// List returns copies of all deals, newest first.
func (s *Store) List() []*Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Record, 0, len(s.byAge))
	for _, w := range slices.Backward(s.byAge) {
		out = append(out, s.copy(w))
	}
	return out
}

// Count counts the deals by checkpoint.
func (s *Store) Count() map[api.DealCheckpoint]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[api.DealCheckpoint]int{}
	for _, w := range s.byAge {
		out[w.rec.Checkpoint]++
	}
	return out
}

// Page gives the deals that a query picks, newest first. What it costs does not
// grow with the number of deals: it begins where the cursor says, looks at
// maxLook of them at most, and only picks them under the lock.
func (s *Store) Page(q api.DealQuery) (api.DealPage, error) {
	if q.Limit <= 0 || q.Limit > maxPage {
		q.Limit = maxPage
	}
	recs, next, err := s.pick(q)
	if err != nil {
		return api.DealPage{}, err
	}
	page := api.DealPage{Deals: make([]api.DealInfo, 0, len(recs)), Next: next}
	for _, r := range recs {
		page.Deals = append(page.Deals, r.Shown(false))
	}
	return page, nil
}

func (s *Store) pick(q api.DealQuery) (recs []*Record, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, err := s.before(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	for looked, w := range slices.Backward(s.byAge[:end]) {
		if len(recs) == q.Limit || end-looked > maxLook {
			return recs, s.byAge[looked+1].rec.UUID.String(), nil
		}
		s.touched++
		if wanted(q, w.rec) {
			c := *w.rec
			c.Received = w.received
			recs = append(recs, &c)
		}
	}
	return recs, "", nil
}

// before tells how many deals are older than the one that a cursor names.
func (s *Store) before(cursor string) (int, error) {
	if cursor == "" {
		return len(s.byAge), nil
	}
	id, err := uuid.Parse(cursor)
	w := s.rows[id]
	if err != nil || w == nil {
		return 0, &api.ErrInvalid{What: "deal list cursor", Reason: "it was not given out by this method",
			Hint: "start with an empty cursor"}
	}
	i, _ := slices.BinarySearchFunc(s.byAge, w, age)
	return i, nil
}

func wanted(q api.DealQuery, r *Record) bool {
	return (len(q.Checkpoints) == 0 || slices.Contains(q.Checkpoints, r.Checkpoint)) &&
		(q.Retry == "" || q.Retry == r.Retry) && (!q.Failed || r.Err != "")
}

// Shown is the deal as lists have it, with its log if asked. One whose proposal
// cannot be read is shown without it, and does not hide the others.
func (r *Record) Shown(log bool) api.DealInfo {
	info, err := r.Info(log)
	if err == nil {
		return info
	}
	info = r.info()
	none := big.Zero() // amounts that are not there cannot be read back from JSON
	info.Proposal = market.DealProposal{StoragePricePerEpoch: none, ProviderCollateral: none, ClientCollateral: none}
	if info.Err == "" {
		info.Err, info.Fault = err.Error(), api.FaultStore
	}
	if log {
		info.Log = slices.Clone(r.Log)
	}
	return info
}
