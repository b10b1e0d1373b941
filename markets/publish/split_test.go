package publish

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore/query"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// sentKeys lists the keys under a prefix that messages were sent under.
func (n *node) sentKeys(prefix string) (out []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range n.order {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	return out
}

func (n *node) valueOf(key string) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent[key].Value.Int64()
}

// flush waits for a deal in the queue and does not wait for others.
func flush(t *testing.T, p *Publisher) {
	require.Eventually(t, func() bool { return len(p.Pending()) == 1 }, 5*time.Second, time.Millisecond)
	p.Flush()
}

// lock lets the chain execute a publish message: its collateral is locked.
func (n *node) lock(amount int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.locked += amount
}

// An escrow message that is stuck holds the batch that needs it. A batch for
// which the escrow has enough, and one with an escrow message of its own, go out
// meanwhile; each adds what it lacks and no more.
func TestStuckEscrowHoldsOnlyWhoNeedsIt(t *testing.T) {
	n := newNode()
	n.escrow = 300
	gate := make(chan struct{})
	p := run(t, n, store(), Config{Period: 1000, MaxDeals: 2})
	n.held["escrow/"] = gate
	dear := publishAll(t, p, "a", "b") // needs 600, 300 are there
	require.Eventually(t, func() bool { return len(n.sentKeys("escrow/")) == 1 }, 5*time.Second, time.Millisecond)
	require.Equal(t, int64(300), n.valueOf(n.sentKeys("escrow/")[0]))
	n.mu.Lock()
	n.escrow -= 300 // the message is not executed yet
	n.mu.Unlock()

	cheap := publishAll(t, p, "c")
	flush(t, p)
	o := <-cheap
	require.NoError(t, o.err)
	require.Len(t, n.sentKeys("escrow/"), 1, "the escrow was enough for one deal")
	require.Len(t, n.sentKeys("publish/"), 1)

	n.mu.Lock()
	delete(n.held, "escrow/")
	n.mu.Unlock()
	third := publishAll(t, p, "d")
	flush(t, p)
	require.NoError(t, (<-third).err)
	keys := n.sentKeys("escrow/")
	require.Len(t, keys, 2)
	require.Equal(t, int64(300), n.valueOf(keys[1]), "what the one deal lacks, not what the others wait for")
	require.Empty(t, dear, "still waiting for its money")

	n.mu.Lock()
	n.escrow += 300 // now the first escrow message is executed
	n.mu.Unlock()
	close(gate)
	for range 2 {
		require.NoError(t, (<-dear).err)
	}
	// What it counted on went to the deal that came meanwhile: it added the rest.
	keys = n.sentKeys("escrow/")
	require.Len(t, keys, 3)
	require.Equal(t, int64(300), n.valueOf(keys[2]))
	require.Equal(t, int64(1200), n.escrow)
}

// A sender that cannot pay for an escrow message holds the deals that need it,
// and they are told to come back; others are published.
func TestPoorSenderIsTemporary(t *testing.T) {
	n := newNode()
	n.poor = "escrow/"
	p := run(t, n, store(), Config{MaxDeals: 1, Attempts: 2})
	id, s := uuid.New(), signed(t, "a")
	_, err := p.Publish(t.Context(), id, s)
	require.ErrorContains(t, err, "has not the funds")
	require.True(t, api.IsTemporary(err))
	n.mu.Lock()
	n.escrow = 300
	n.mu.Unlock()
	require.NoError(t, (<-publishAll(t, p, "b")).err)
	n.mu.Lock()
	n.poor = ""
	n.mu.Unlock()
	_, err = p.Publish(t.Context(), id, s)
	require.NoError(t, err)
	require.Len(t, n.sentKeys("escrow/"), 1)
	require.Equal(t, int64(600), n.escrow, "what is set aside for the other deal is not counted twice")
}

// What is set aside is freed when the chain has locked it, not before.
func TestEscrowIsSetAsideUntilLocked(t *testing.T) {
	n := newNode()
	n.escrow = 600
	p := run(t, n, store(), Config{MaxDeals: 1})
	id, s := uuid.New(), signed(t, "a")
	c, err := p.Publish(t.Context(), id, s)
	require.NoError(t, err)
	_, err = p.Publish(t.Context(), uuid.New(), signed(t, "b"))
	require.NoError(t, err)
	require.Empty(t, n.sentKeys("escrow/"), "two deals fit exactly")
	n.lock(300)
	_, _, err = p.Confirm(t.Context(), id, s, c)
	require.NoError(t, err)
	_, err = p.Publish(t.Context(), uuid.New(), signed(t, "c"))
	require.NoError(t, err)
	require.Len(t, n.sentKeys("escrow/"), 1)
	require.Equal(t, int64(900), n.escrow, "300 locked, 300 set aside, 300 added")
}

// A message that failed on chain publishes none of its deals; each goes out on
// its own then, whoever asks first, and only the one at fault fails.
func TestDeadBatchIsSplit(t *testing.T) {
	n, ds := newNode(), store()
	n.escrow = 10_000
	p := run(t, n, ds, Config{Period: 1000, MaxDeals: 3})
	n.exits["poison"] = 2 // with the others, and on its own
	ids := map[string]uuid.UUID{"a": uuid.New(), "poison": uuid.New(), "c": uuid.New()}
	out := make(chan outcome, 3)
	for l, id := range ids {
		go func() {
			c, err := p.Publish(context.Background(), id, signed(t, l))
			out <- outcome{id, c, err}
		}()
	}
	c := (<-out).cid
	<-out
	<-out
	confirm := func(p *Publisher, l string) (cid.Cid, error) {
		final, deal, err := p.Confirm(context.Background(), ids[l], signed(t, l), c)
		if err == nil {
			n.mu.Lock()
			defer n.mu.Unlock()
			got, _ := n.deals[deal].Proposal.Label.ToString()
			require.Equal(t, l, got)
		}
		return final, err
	}
	final, err := confirm(p, "a")
	require.NoError(t, err)
	require.NotEqual(t, c, final)
	require.Len(t, n.sentKeys("publish/"), 2)
	again, err := confirm(p, "a")
	require.NoError(t, err)
	require.Equal(t, final, again, "asked for with the old CID, the new one is found")

	q := run(t, n, ds, Config{Period: 1000, MaxDeals: 3}) // the process was restarted meanwhile
	other, err := confirm(q, "c")
	require.NoError(t, err)
	require.NotEqual(t, c, other)
	require.NotEqual(t, final, other)
	require.Len(t, n.sentKeys("publish/"), 3, "it does not wait for others after the restart either")

	n.mu.Lock()
	n.bad["poison"] = true
	n.mu.Unlock()
	_, err = confirm(q, "poison")
	var dropped *DroppedError
	require.ErrorAs(t, err, &dropped)
	require.ErrorContains(t, err, "exit code 16")
	require.ErrorContains(t, err, "non-zero exitcode 16")
	require.Len(t, n.sentKeys("publish/"), 3, "the simulation said no before a message was paid for")

	run(t, n, ds, Config{})
	res, err := ds.Query(t.Context(), query.Query{Prefix: "/batch"})
	require.NoError(t, err)
	rest, err := res.Rest()
	require.NoError(t, err)
	require.Len(t, rest, 3, "two of one deal each, and the dead one that the poisoned deal still needs")
}

// A deal whose own messages fail although the simulation has nothing against it
// costs a few messages, and is then said to be a trouble that may pass.
func TestMessagesInVainEnd(t *testing.T) {
	n := newNode()
	n.escrow = 10_000
	n.exits["a"] = 100
	p := run(t, n, store(), Config{MaxDeals: 1})
	id, s := uuid.New(), signed(t, "a")
	c, err := p.Publish(t.Context(), id, s)
	require.NoError(t, err)
	_, _, err = p.Confirm(t.Context(), id, s, c)
	require.ErrorContains(t, err, "3 messages were spent in vain")
	require.True(t, api.IsTemporary(err))
	require.Len(t, n.sentKeys("publish/"), 4, "the fourth is for the next call to wait for")
	n.mu.Lock()
	n.exits["a"] = 0
	n.mu.Unlock()
	_, _, err = p.Confirm(t.Context(), id, s, c)
	require.NoError(t, err)
	require.Len(t, n.sentKeys("publish/"), 4)
}

// A deal that the message left out is tried on its own; the others are untouched.
func TestLeftOutDealGoesAlone(t *testing.T) {
	n, ds := newNode(), store()
	n.escrow = 10_000
	p := run(t, n, ds, Config{Period: 1000, MaxDeals: 2})
	ids := map[string]uuid.UUID{"a": uuid.New(), "dropped": uuid.New()}
	out := make(chan outcome, 2)
	for l, id := range ids {
		go func() {
			c, err := p.Publish(context.Background(), id, signed(t, l))
			out <- outcome{id, c, err}
		}()
	}
	c := (<-out).cid
	<-out
	_, _, err := p.Confirm(t.Context(), ids["dropped"], signed(t, "dropped"), c)
	var dropped *DroppedError
	require.ErrorAs(t, err, &dropped)
	require.ErrorContains(t, err, "invalid at publication, in the last of 3 messages")
	final, _, err := p.Confirm(t.Context(), ids["a"], signed(t, "a"), c)
	require.NoError(t, err)
	require.Equal(t, c, final)
}

// A message that the node refuses as a whole is split before anything is sent.
func TestRefusedBatchIsSplit(t *testing.T) {
	n := newNode()
	n.escrow = 10_000
	n.refuse["b"] = true
	p := run(t, n, store(), Config{Period: 1000, MaxDeals: 3})
	out := publishAll(t, p, "a", "b", "c")
	seen := map[string]bool{}
	for range 3 {
		o := <-out
		require.NoError(t, o.err)
		seen[o.cid.String()] = true
	}
	require.Len(t, seen, 3, "each in a message of its own")
}

// A deal that the node cannot simulate, and one that cannot be read, do not keep
// the others back. When no deal can be simulated it is the node's trouble.
func TestOddDealsStandAside(t *testing.T) {
	n := newNode()
	n.escrow = 10_000
	n.odd["odd"] = true
	p := run(t, n, store(), Config{Period: 1000, MaxDeals: 3, Attempts: 2})
	out := publishAll(t, p, "good", "odd")
	broken, torn := uuid.New(), make(chan error, 1)
	go func() {
		_, err := p.Publish(context.Background(), broken, []byte{0x82, 0x80})
		torn <- err
	}()
	require.ErrorContains(t, <-torn, fmt.Sprintf("proposal of deal %s", broken))
	var good, odd int
	for range 2 {
		switch o := <-out; {
		case o.err == nil:
			good++
		default:
			require.ErrorContains(t, o.err, "internal error")
			require.True(t, api.IsTemporary(o.err))
			odd++
		}
	}
	require.Equal(t, []int{1, 1}, []int{good, odd})

	out = publishAll(t, p, "odd")
	flush(t, p)
	err := (<-out).err
	require.ErrorContains(t, err, "internal error")
	require.True(t, api.IsTemporary(err), "so that the deal comes back by itself")
}

// Batches are sent beside each other, and none is left running when Run ends.
func TestStopWhileWaitingForEscrow(t *testing.T) {
	n := newNode()
	n.held["escrow/"] = make(chan struct{})
	p, err := New(t.Context(), Config{Miner: provider, MaxDeals: 1}, Deps{Store: store(), Chain: n, Msgs: n, Heads: n})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	out := make(chan error, 1)
	go func() {
		_, err := p.Publish(t.Context(), uuid.New(), signed(t, "a"))
		out <- err
	}()
	require.Eventually(t, func() bool { return len(n.sentKeys("escrow/")) == 1 }, 5*time.Second, time.Millisecond)
	stop()
	require.NoError(t, <-done)
	require.ErrorIs(t, <-out, context.Canceled)
}
