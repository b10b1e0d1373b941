package sealing

import (
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// sectorsOf is a Sealing of n sectors with every second number; change says how
// the i-th differs.
func sectorsOf(tb testing.TB, n int, change func(i int, r *record)) *Sealing {
	tb.Helper()
	s := open(tb, newWorld(), memStore(), testConfig())
	for i := range n {
		r := record{Number: abi.SectorNumber(2 * i), ProofType: testProof, State: api.SectorProving}
		if change != nil {
			change(i, &r)
		}
		s.addLane(&lane{rec: r, wake: make(chan struct{}, 1)})
	}
	return s
}

// walk reads every page of a query.
func walk(tb testing.TB, s *Sealing, q api.SectorQuery) (numbers []abi.SectorNumber, pages int) {
	tb.Helper()
	for {
		page, err := s.SectorsQuery(bg, q)
		if err != nil || page.Sectors == nil {
			tb.Fatalf("page from %d: %v, %v", q.From, page.Sectors, err)
		}
		pages++
		for _, i := range page.Sectors {
			numbers = append(numbers, i.Sector.ID.Number)
		}
		if page.Next == nil {
			return numbers, pages
		}
		q.From = *page.Next
	}
}

// A page looks at its own sectors only, however many there are and wherever it is,
// and holds a thousand at most.
func TestPageLooksAtItsOwnSectorsOnly(t *testing.T) {
	for _, n := range []int{999, 1000, 1001, 10_000} {
		s := sectorsOf(t, n, nil)
		got, pages := walk(t, s, api.SectorQuery{})
		if len(got) != n || pages != (n+999)/1000 || s.touched != uint64(n) {
			t.Errorf("%d sectors: %d on %d pages, looked at %d", n, len(got), pages, s.touched)
		}
		for i, number := range got {
			if number != abi.SectorNumber(2*i) {
				t.Fatalf("sector %d is at place %d", number, i)
			}
		}
	}
	s := sectorsOf(t, 1002, nil)
	for limit, want := range map[int]int{0: 1000, -1: 1000, 1: 1, 999: 999, 1000: 1000, 1001: 1000} {
		list, err := s.SectorsList(bg, 1, limit)
		if err != nil || len(list) != want || list[0].Sector.ID.Number != 2 {
			t.Errorf("limit %d: %d sectors, %v", limit, len(list), err)
		}
	}
}

// Where few are wanted a page ends after a bounded number of sectors, and says
// where to go on.
func TestSectorPageIsBounded(t *testing.T) {
	s := sectorsOf(t, maxLook+1, func(i int, r *record) {
		if i == maxLook {
			r.State = api.SectorWaitSeed
		}
	})
	q := api.SectorQuery{States: []api.SectorState{api.SectorWaitSeed}}
	page, err := s.SectorsQuery(bg, q)
	if err != nil || len(page.Sectors) != 0 || page.Next == nil || *page.Next != 2*maxLook || s.touched != maxLook {
		t.Fatalf("%+v, %v after %d", page, err, s.touched)
	}
	if got, pages := walk(t, s, q); len(got) != 1 || got[0] != 2*maxLook || pages != 2 {
		t.Errorf("%v on %d pages", got, pages)
	}
}

// someFaults is a book in which the given sectors are faulty.
type someFaults map[abi.SectorNumber]*api.ChainFault

func (f someFaults) List() []api.ChainFault                   { return nil }
func (f someFaults) Fault(n abi.SectorNumber) *api.ChainFault { return f[n] }

// Sectors are picked by state, and by what the chain counts as faulty.
func TestSectorsArePicked(t *testing.T) {
	states := []api.SectorState{api.SectorProving, api.SectorWaitSeed, api.SectorProving, api.SectorPacking}
	s := sectorsOf(t, len(states), func(i int, r *record) { r.State = states[i] })
	s.deps.Faults = someFaults{0: {Sector: 0}, 2: {Sector: 2}}
	for _, c := range []struct {
		q    api.SectorQuery
		want string
	}{
		{api.SectorQuery{}, "[0 2 4 6]"},
		{api.SectorQuery{From: 3}, "[4 6]"},
		{api.SectorQuery{From: 7}, "[]"},
		{api.SectorQuery{States: []api.SectorState{api.SectorProving}}, "[0 4]"},
		{api.SectorQuery{States: []api.SectorState{api.SectorPacking, api.SectorWaitSeed}}, "[2 6]"},
		{api.SectorQuery{Faulty: true}, "[0 2]"},
		{api.SectorQuery{Faulty: true, States: []api.SectorState{api.SectorProving}}, "[0]"},
	} {
		for limit := range 6 {
			c.q.Limit = limit
			if got, _ := walk(t, s, c.q); fmt.Sprint(got) != c.want {
				t.Errorf("%+v picks %v", c.q, got)
			}
		}
	}
}

// New sectors take their place by number, whatever order they come in.
func TestSectorsAreKeptInOrder(t *testing.T) {
	s := sectorsOf(t, 0, nil)
	for _, n := range []abi.SectorNumber{5, 1, 9, 5, 0, 7} {
		s.addLane(&lane{rec: record{Number: n}})
	}
	if got := fmt.Sprint(s.numbers); got != "[0 1 5 7 9]" {
		t.Errorf("kept as %s", got)
	}
}

func BenchmarkSectorPages(b *testing.B) {
	for _, n := range []int{10_000, 30_000} {
		s := sectorsOf(b, n, nil)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				walk(b, s, api.SectorQuery{Limit: 500})
			}
		})
	}
}
