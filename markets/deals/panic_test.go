package deals

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// falling is a datastore that panics when a deal is written at a checkpoint.
type falling struct {
	datastore.Batching
	at   api.DealCheckpoint
	left atomic.Int32
}

func (f *falling) Put(ctx context.Context, k datastore.Key, v []byte) error {
	if strings.Contains(string(v), `"Checkpoint":"`+string(f.at)+`"`) && f.left.Add(-1) >= 0 {
		panic("nil map")
	}
	return f.Batching.Put(ctx, k, v)
}

// A panic anywhere in the execution of a deal, also where its failure is to be
// written, ends neither the process nor the deal, which goes on from what is
// stored.
func TestPanicInADealStopsNothingElse(t *testing.T) {
	for _, at := range []api.DealCheckpoint{api.DealAccepted, api.DealTransferred, api.DealPublished, api.DealPublishConfirmed,
		api.DealAddedPiece, api.DealIndexed, api.DealComplete} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			ds := &falling{Batching: memory(), at: at}
			p := w.open(ds)
			id := w.deal(p)
			ds.left.Store(7)
			defer w.run(p)()
			rec := w.untilComplete(p, id)
			require.True(t, rec.Active, "at %s: %s", at, rec.Err)
			w.until(p, id, "is settled", func(r *Record) bool { return r.SealingState == api.SectorProving })
			require.Negative(t, ds.left.Load(), "at %s", at)
		})
	}
}
