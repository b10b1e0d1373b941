package publish

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// falling sends messages and panics over the first.
type falling struct {
	*node
	left atomic.Int32
}

func (f *falling) Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error) {
	if f.left.Add(-1) >= 0 {
		panic("index out of range")
	}
	return f.node.Send(ctx, key, m)
}

// A panic over a batch is told to those who wait for it as a trouble of ours, and
// the batch is sent when they ask again.
func TestPanicOverABatchEndsNothing(t *testing.T) {
	n := newNode()
	n.escrow = 1000
	f := &falling{node: n}
	f.left.Store(1)
	p, err := New(t.Context(), Config{Miner: provider, Period: 1000, MaxDeals: 1}, Deps{Store: store(), Chain: n, Msgs: f, Heads: n})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	first := <-publishAll(t, p, "a")
	var busy *api.ErrBusy
	require.ErrorAs(t, first.err, &busy)
	require.Contains(t, busy.Reason, "index out of range")
	require.True(t, api.IsTemporary(first.err))
	require.NoError(t, (<-publishAll(t, p, "b")).err, "others go on")
	_, err = p.Publish(t.Context(), first.id, signed(t, "a"))
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-done)
}
