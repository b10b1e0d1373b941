package publish

import (
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"
)

// A message that failed as a whole is no deal's fault: each is published again
// in another message, also over a restart, and none in the failed one.
func TestFailedMessageIsNoDealsFault(t *testing.T) {
	ctx, n := context.Background(), newNode()
	ds := dssync.MutexWrap(datastore.NewMapDatastore())
	p, stop := begin(t, n, ds)
	id := uuid.New()
	first, err := p.Publish(ctx, id, signed(t, "a"))
	require.NoError(t, err)
	n.mu.Lock()
	for key, m := range n.sent {
		if m.Method == 4 {
			n.wasted[key] = true
		}
	}
	n.mu.Unlock()
	_, _, err = p.Confirm(ctx, id, signed(t, "a"), first)
	var d *DroppedError
	require.ErrorAs(t, err, &d)
	require.True(t, d.Message)
	require.NoError(t, p.Release(ctx, id))
	require.NoError(t, p.Release(ctx, id), "repeating it changes nothing")
	stop()
	p, stop = begin(t, n, ds)
	defer stop()
	second, err := p.Publish(ctx, id, signed(t, "a"))
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	final, _, err := p.Confirm(ctx, id, signed(t, "a"), second)
	require.NoError(t, err)
	require.Equal(t, second, final)
	require.Len(t, slices.DeleteFunc(slices.Clone(n.order), func(k string) bool { return n.sent[k].Method != 4 }), 2)
}

func begin(t *testing.T, n *node, ds datastore.Batching) (*Publisher, func()) {
	t.Helper()
	p, err := New(context.Background(), Config{Miner: provider, From: worker, Period: 0, MaxDeals: 1},
		Deps{Store: ds, Chain: n, Msgs: n, Heads: n})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, func() { cancel(); require.NoError(t, <-done) }
}
