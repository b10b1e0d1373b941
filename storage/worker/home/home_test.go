package home

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

func store() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

// right is the node that the worker of the tests belongs to.
func right() api.Handshake {
	return api.Handshake{Identity: api.Identity{
		Miner:       "f01000",
		Network:     "mainnet",
		Genesis:     "bafygenesis",
		Kind:        "miner",
		Instance:    uuid.New(),
		APIVersions: map[api.Subsystem]uint32{api.SubsystemSectorStorage: 1},
	}}
}

// node answers what it is told to.
type node struct {
	mu     sync.Mutex
	answer api.Handshake
	err    error
	asked  int
	delay  time.Duration
}

func (n *node) set(h api.Handshake, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer, n.err = h, err
}

func (n *node) handshake(ctx context.Context, me api.Introduction) (api.Handshake, error) {
	if me.Kind != "worker" {
		return api.Handshake{}, errors.New("a stranger asks")
	}
	time.Sleep(n.delay)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.answer, errors.Join(n.err, ctx.Err())
}

func open(t *testing.T, ds datastore.Batching, n *node) *Gate {
	t.Helper()
	g, err := Open(t.Context(), Deps{Store: ds, Handshake: n.handshake})
	require.NoError(t, err)
	return g
}

var claim = api.Method{Name: "WorkerClaim"}

// A worker belongs to the first private node that it meets, also after a restart;
// a node of another miner, another network, or of no miner gets no call.
func TestWorkerKnowsItsMiner(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*api.Handshake)
		says   string // empty: it is right
	}{
		"the same process":           {func(*api.Handshake) {}, ""},
		"it was restarted":           {func(h *api.Handshake) { h.Instance = uuid.New() }, ""},
		"it waits for its full node": {func(h *api.Handshake) { h.Network, h.Genesis = "", "" }, ""},
		"another miner":              {func(h *api.Handshake) { h.Miner = "f01001" }, "belongs to miner f01001, this worker to f01000"},
		"another miner that waits":   {func(h *api.Handshake) { h.Miner, h.Genesis = "f01001", "" }, "belongs to miner f01001"},
		"another network":            {func(h *api.Handshake) { h.Network = "calibration" }, "on network calibration"},
		"another chain of that name": {func(h *api.Handshake) { h.Genesis = "bafyother" }, "genesis bafyother"},
		"a worker":                   {func(h *api.Handshake) { h.Miner, h.Kind = "", "worker" }, "is that of a worker"},
		"a markets node":             {func(h *api.Handshake) { h.APIVersions, h.Kind = nil, "markets" }, "a markets node of miner f01000"},
		"no instance":                {func(h *api.Handshake) { h.Instance = uuid.Nil }, "which process it is"},
		"a terminal is attacked":     {func(h *api.Handshake) { h.Miner = "f0\x1b[2J" }, "belongs to miner f0"},
	} {
		t.Run(name, func(t *testing.T) {
			ds, n := store(), &node{answer: right()}
			g := open(t, ds, n)
			got, err := g.Allow(t.Context(), claim)
			require.NoError(t, err)
			require.Equal(t, n.answer.Instance.String(), got)
			next := n.answer
			c.change(&next)
			n.set(next, nil)
			for _, g := range []*Gate{g, open(t, ds, n)} {
				g.Replaced(got) // another process answers
				again, err := g.Allow(t.Context(), claim)
				if c.says == "" {
					require.NoError(t, err)
					require.Equal(t, next.Instance.String(), again)
					continue
				}
				var away *api.ErrUnreachable
				require.ErrorAs(t, err, &away, "work goes on, and the right one is waited for")
				require.Contains(t, away.Reason, c.says)
				require.NotContains(t, away.Reason, "\x1b")
				var wrong *WrongNodeError
				require.ErrorAs(t, g.Meet(t.Context()), &wrong)
			}
		})
	}
}

// A new worker belongs nowhere before the node can tell its network.
func TestNewWorkerWaitsForTheNetwork(t *testing.T) {
	ds, n := store(), &node{answer: right()}
	waits := n.answer
	waits.Network, waits.Genesis = "", ""
	n.set(waits, nil)
	_, err := open(t, ds, n).Allow(t.Context(), claim)
	require.ErrorContains(t, err, "waits for its full node")
	other := right()
	other.Miner = "f01001"
	n.set(other, nil)
	_, err = open(t, ds, n).Allow(t.Context(), claim)
	require.NoError(t, err, "it belongs to nobody yet")
	n.set(right(), nil)
	_, err = open(t, ds, n).Allow(t.Context(), claim)
	require.ErrorContains(t, err, "this worker to f01001")
}

// A node that does not answer is asked again at the next call; one that was wrong
// is left alone for a while; of calls at one time a single one asks.
func TestWhenANodeIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{err: &api.ErrUnreachable{Peer: "it"}, delay: time.Second}
		g := open(t, store(), n)
		allow := func() (err error) {
			_, err = g.Allow(t.Context(), claim)
			return err
		}
		for want := 1; want <= 2; want++ {
			var away *api.ErrUnreachable
			require.ErrorAs(t, allow(), &away)
			require.Equal(t, want, n.asked)
		}
		n.set(right(), nil)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { require.NoError(t, allow()) })
		}
		wg.Wait()
		require.Equal(t, 3, n.asked)
		require.NoError(t, allow())
		require.Equal(t, 3, n.asked, "what is right is not asked again")
		g.Replaced("somebody else")
		require.NoError(t, allow())
		require.Equal(t, 3, n.asked)
		g.Replaced(n.answer.Instance.String())
		other := right()
		other.Miner = "f01001"
		n.set(other, nil)
		require.Error(t, allow())
		require.Equal(t, 4, n.asked)
		time.Sleep(wrongPause - 1)
		require.Error(t, allow())
		require.Equal(t, 4, n.asked)
		n.set(right(), nil)
		time.Sleep(1)
		require.NoError(t, allow())
		require.Equal(t, 5, n.asked)
	})
}

// The calls that ask who it is do not ask that first.
func TestQuestionsPassTheGate(t *testing.T) {
	n := &node{err: errors.New("asked")}
	for _, m := range []string{"Handshake", "Version"} {
		got, err := open(t, store(), n).Allow(t.Context(), api.Method{Name: m})
		require.NoError(t, err)
		require.Empty(t, got)
	}
	require.Zero(t, n.asked)
}

// A release that knows no handshake is not believed; a pin that cannot be read is
// an error, and one that cannot be written is none.
func TestHomeErrors(t *testing.T) {
	n := &node{err: &api.ErrNotServedHere{Method: "Handshake"}}
	err := open(t, store(), n).Meet(t.Context())
	var wrong *WrongNodeError
	require.ErrorAs(t, err, &wrong)
	require.True(t, strings.HasPrefix(err.Error(), "not the private node of this worker: it does not answer"), err)
	ds := store()
	require.NoError(t, ds.Put(t.Context(), pinKey, []byte("{")))
	_, err = Open(t.Context(), Deps{Store: ds, Handshake: n.handshake})
	require.ErrorContains(t, err, "read which miner this worker belongs to")
	full := &fullStore{Batching: store()}
	n.set(right(), nil)
	g := open(t, full, n)
	require.ErrorContains(t, g.Meet(t.Context()), "disk full")
	_, err = g.Allow(t.Context(), claim)
	require.ErrorContains(t, err, "disk full", "nothing is believed that is not remembered")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = g.Allow(ctx, claim)
	require.Error(t, err)
}

type fullStore struct{ datastore.Batching }

func (f *fullStore) Put(context.Context, datastore.Key, []byte) error { return errors.New("disk full") }
