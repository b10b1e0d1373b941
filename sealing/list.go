package sealing

import (
	"context"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// Bounds of one page.
const (
	maxPage = 1000   // sectors
	maxLook = 10_000 // sectors looked at, where most are not wanted
)

// SectorsList lists sectors from number cursor on, at most limit (0 = 1000).
func (s *Sealing) SectorsList(_ context.Context, cursor abi.SectorNumber, limit int) ([]api.SectorInfo, error) {
	return s.page(api.SectorQuery{From: cursor, Limit: limit}).Sectors, nil
}

// SectorsQuery pages through the sectors that a query picks, by number. What a
// page costs does not grow with the number of sectors.
func (s *Sealing) SectorsQuery(_ context.Context, q api.SectorQuery) (api.SectorPage, error) {
	return s.page(q), nil
}

func (s *Sealing) page(q api.SectorQuery) api.SectorPage {
	if q.Limit <= 0 || q.Limit > maxPage {
		q.Limit = maxPage
	}
	recs, next := s.pick(q)
	page := api.SectorPage{Sectors: make([]api.SectorInfo, 0, len(recs)), Next: next}
	for _, r := range recs {
		if info := s.info(r, false); !q.Faulty || info.Fault != nil {
			page.Sectors = append(page.Sectors, info)
		}
	}
	return page
}

// pick gives records, which are never changed in place.
func (s *Sealing) pick(q api.SectorQuery) (recs []record, next *abi.SectorNumber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearch(s.numbers, q.From)
	for at, n := range s.numbers[i:] {
		if len(recs) == q.Limit || at >= maxLook {
			return recs, &n
		}
		s.touched++
		if r := s.lanes[n].rec; len(q.States) == 0 || slices.Contains(q.States, r.State) {
			recs = append(recs, r)
		}
	}
	return recs, nil
}

// addLane makes a sector known. Callers hold mu, but at the start.
func (s *Sealing) addLane(l *lane) {
	n := l.rec.Number
	i, there := slices.BinarySearch(s.numbers, n)
	if !there {
		s.numbers = slices.Insert(s.numbers, i, n)
	}
	s.lanes[n] = l
}
