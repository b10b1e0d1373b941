package sealing

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// fallingStore panics when the record of one sector is to be written in a state.
type fallingStore struct {
	datastore.Batching
	mu    sync.Mutex
	of    string // key of the record
	state api.SectorState
	left  int
}

func (f *fallingStore) Put(ctx context.Context, k datastore.Key, v []byte) error {
	f.mu.Lock()
	bad := k.Name() == f.of && strings.Contains(string(v), `"State":"`+string(f.state)+`"`) && f.left > 0
	if bad {
		f.left--
	}
	f.mu.Unlock()
	if bad {
		panic("nil map")
	}
	return f.Batching.Put(ctx, k, v)
}

// A panic anywhere in the driving of a sector stops neither the process nor other
// sectors, and this one goes on from what is stored.
func TestPanicBesideTheWorkOfASector(t *testing.T) {
	w := newWorld()
	ds := &fallingStore{Batching: memStore(), state: api.SectorWaitSeed}
	s := open(t, w, ds, testConfig())
	first, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	ds.of, ds.left = first.Number.String(), 1
	start(t, s)
	untilState(t, s, second.Number, api.SectorProving)
	untilState(t, s, first.Number, api.SectorProving)
	if ds.mu.Lock(); ds.left != 0 {
		t.Error("nothing panicked")
	}
	ds.mu.Unlock()
}
