package deals

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/transfer"
)

// dying takes no write any more after some, as the store of a killed process.
type dying struct {
	datastore.Batching
	mu   sync.Mutex
	left int
}

var errDead = errors.New("the process is dead")

func (d *dying) Put(ctx context.Context, k datastore.Key, v []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left <= 0 {
		return errDead
	}
	d.left--
	return d.Batching.Put(ctx, k, v)
}

func (d *dying) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left <= 0
}

// The process dies after every single write in turn of a deal that loses its
// place on the way; the next one brings it home, with each key offered once.
func TestDeathAtEveryWriteOfALostPlace(t *testing.T) {
	for writes := 1; ; writes++ {
		require.Less(t, writes, 60, "the deal never ends")
		died := false
		synctest.Test(t, func(t *testing.T) {
			w, disk := newWorld(t), memory()
			w.seal = 40
			store := &dying{Batching: disk, left: writes}
			p := w.open(store)
			stop := w.run(p)
			id := w.deal(p)
			go func() { // the sealing side gives the first place up
				for {
					time.Sleep(epoch)
					w.mu.Lock()
					first := w.places[id.String()]
					if first != nil && first.ready <= w.now()+20 {
						first.givenUp = gone("removed")
						w.mu.Unlock()
						return
					}
					w.mu.Unlock()
				}
			}()
			for !store.dead() && !w.get(p, id).Final() {
				time.Sleep(epoch)
			}
			died = store.dead()
			stop()
			p = w.open(disk)
			defer w.run(p)()
			rec := w.untilComplete(p, id)
			require.True(t, rec.Active, "death after write %d: %s", writes, rec.Err)
			require.Equal(t, 1, rec.Attempt)
			require.Len(t, w.adds, 2, "death after write %d", writes)
			require.Equal(t, []string{id.String(), id.String() + "/1"}, []string{w.adds[0].Key, w.adds[1].Key})
			require.Len(t, w.index, 1)
			require.Contains(t, w.index, *rec.Placement)
			time.Sleep(30 * epoch)
			require.False(t, w.staged(p, id))
		})
		if !died {
			require.Greater(t, writes, 8)
			return
		}
	}
}

// The end of a deal that cannot be written down is no end yet: the step is made
// again, ever more slowly, until it can be.
func TestEndIsWrittenDownFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail["Fetch"] = slices.Repeat([]error{&transfer.FatalError{Err: errors.New("404")}}, 1000)
		store := &dying{Batching: memory(), left: 1}
		p := w.open(store)
		defer w.run(p)()
		id := w.deal(p)
		time.Sleep(100 * time.Second)
		synctest.Wait()
		require.False(t, w.get(p, id).Final())
		require.Equal(t, 7, w.calls["Fetch"], "after 0, 1, 3, 7, 15, 31 and 63 seconds")
		store.mu.Lock()
		store.left = 1000
		store.mu.Unlock()
		rec := w.untilComplete(p, id)
		require.Equal(t, api.DealRetryFatal, rec.Retry)
	})
}
