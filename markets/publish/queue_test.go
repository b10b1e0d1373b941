package publish

import (
	"context"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore/query"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// A process that is restarted again and again publishes all the same: the
// period counts from the first time a deal was queued, whichever deal comes
// back first.
func TestPeriodSurvivesRestarts(t *testing.T) {
	n, ds := newNode(), store()
	older, younger := uuid.New(), uuid.New()
	for _, ids := range [][]uuid.UUID{{older}, {younger, older}, {younger, older}} {
		p, err := New(t.Context(), Config{Miner: provider, Period: 10, MaxDeals: 8}, Deps{Store: ds, Chain: n, Msgs: n, Heads: n})
		require.NoError(t, err)
		ctx, kill := context.WithCancel(t.Context())
		ended := make(chan error, 1+len(ids))
		go func() { ended <- p.Run(ctx) }()
		for i, id := range ids {
			go func() {
				_, err := p.Publish(ctx, id, signed(t, id.String()))
				ended <- err
			}()
			require.Eventually(t, func() bool { return len(p.Pending()) == i+1 }, 5*time.Second, time.Millisecond)
		}
		at, waiting := p.dueAt()
		require.True(t, waiting)
		require.Equal(t, abi.ChainEpoch(10), at, "ten epochs after the older deal came")
		n.grow(3)
		kill()
		for range cap(ended) {
			<-ended
		}
		require.Empty(t, n.order)
	}
	p := run(t, n, ds, Config{Period: 10, MaxDeals: 8})
	out := make(chan outcome, 1)
	go func() {
		c, err := p.Publish(t.Context(), older, signed(t, older.String()))
		out <- outcome{older, c, err}
	}()
	require.Eventually(t, func() bool { return len(p.Pending()) == 1 }, 5*time.Second, time.Millisecond)
	require.Empty(t, out)
	n.grow(1) // to epoch 10
	require.NoError(t, (<-out).err)
	res, err := ds.Query(t.Context(), query.Query{Prefix: "/queued", KeysOnly: true})
	require.NoError(t, err)
	rest, err := res.Rest()
	require.NoError(t, err)
	require.Len(t, rest, 1, "only the deal that did not come back is remembered")
	require.Equal(t, "/queued/"+younger.String(), rest[0].Key)
}

// late has no head until told to.
type late struct {
	*node
	up chan struct{}
}

func (l late) Head() *api.TipSet {
	select {
	case <-l.up:
		return l.node.Head()
	default:
		return nil
	}
}

func (l late) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	select {
	case <-l.up:
		return l.node.WaitHeight(ctx, h)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Before the first head is known the period does not count from epoch 0.
func TestPeriodWithoutHead(t *testing.T) {
	n := newNode()
	n.grow(1000)
	clock := late{n, make(chan struct{})}
	p, err := New(t.Context(), Config{Miner: provider, Period: 10}, Deps{Store: store(), Chain: n, Msgs: n, Heads: clock})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- p.Run(ctx) }()
	go func() {
		_, err := p.Publish(ctx, uuid.New(), signed(t, "a"))
		ended <- err
	}()
	close(clock.up)
	require.Eventually(t, func() bool { return len(p.Pending()) == 1 }, 5*time.Second, time.Millisecond)
	at, _ := p.dueAt()
	require.Equal(t, abi.ChainEpoch(1010), at)
	cancel()
	<-ended
	<-ended
}

// An escrow message that failed on chain is not waited for again: the operator
// adds funds and retries, and a new one is sent. Until then one failure costs
// gas once.
func TestEscrowFailsOnChain(t *testing.T) {
	n, ds := newNode(), store()
	n.broke = 1
	id, s := uuid.New(), signed(t, "a")
	p := run(t, n, ds, Config{MaxDeals: 1})
	_, err := p.Publish(t.Context(), id, s)
	require.ErrorContains(t, err, "exit code 6")
	require.ErrorContains(t, err, "has the funds")
	n.mu.Lock()
	require.Len(t, n.order, 1)
	n.mu.Unlock()
	again := run(t, n, ds, Config{MaxDeals: 1})
	_, err = again.Publish(t.Context(), id, s)
	require.NoError(t, err)
	n.mu.Lock()
	defer n.mu.Unlock()
	require.Len(t, n.order, 3, "two for the escrow, one for the deal")
	require.Equal(t, int64(300), n.escrow)
}
