package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// epochNet is a full node of a real network, or a devnet when it has a pace.
type epochNet struct {
	delay  uint64
	status *api.NodeStatusDevnet
	err    error // of StateGetNetworkParams
	gone   error // of DevnetStatus
}

func (n *epochNet) StateGetNetworkParams(context.Context) (*api.NetworkParams, error) {
	return &api.NetworkParams{BlockDelaySecs: n.delay}, n.err
}

func (n *epochNet) DevnetStatus(context.Context) (api.NodeStatusDevnet, error) {
	if n.status == nil {
		return api.NodeStatusDevnet{}, n.gone
	}
	return *n.status, n.gone
}

// The length of an epoch is what the network says, on every kind of network.
func TestEpochLengthComesFromTheNetwork(t *testing.T) {
	notHere := errors.New("method 'Filecoin.DevnetStatus' not found")
	for name, c := range map[string]struct {
		net    *epochNet
		want   time.Duration
		devnet bool
	}{
		"devnet of 100 ms":          {&epochNet{status: &api.NodeStatusDevnet{PaceMillis: 100}}, 100 * time.Millisecond, true},
		"devnet as fast as it can":  {&epochNet{status: &api.NodeStatusDevnet{}}, 0, true},
		"devnet that is in no rush": {&epochNet{status: &api.NodeStatusDevnet{PaceMillis: 30_000}}, 30 * time.Second, true},
		"real network of 4 s":       {&epochNet{delay: 4, gone: notHere}, 4 * time.Second, false},
		"real network of 30 s":      {&epochNet{delay: 30, gone: notHere}, 30 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := learnEpochs(t.Context(), c.net)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.span(120); got != 120*c.want {
				t.Errorf("120 epochs take %s, want %s", got, 120*c.want)
			}
			if e.devnet != c.devnet || (e.wall() != nil) != c.devnet || (e.openEpoch() != nil) != c.devnet {
				t.Errorf("taken for a devnet: %v, want %v", e.devnet, c.devnet)
			}
			if c.devnet && e.wall()() != c.want {
				t.Errorf("an epoch lasts %s, want %s", e.wall()(), c.want)
			}
		})
	}
}

// The pace of a devnet may change while the miner runs.
func TestChangedPaceIsFollowed(t *testing.T) {
	n := &epochNet{status: &api.NodeStatusDevnet{PaceMillis: 100, Height: 7}}
	e, err := learnEpochs(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	n.status.PaceMillis, n.status.Height = 250, 1000
	if open, err := e.openEpoch()(t.Context()); err != nil || open != abi.ChainEpoch(1001) {
		t.Errorf("epoch %d is open, %v; want 1001", open, err)
	}
	if got := e.wall()(); got != 250*time.Millisecond {
		t.Errorf("an epoch lasts %s", got)
	}
	n.gone = &api.ErrUnreachable{Peer: "node", Reason: "refused"}
	if _, err := e.openEpoch()(t.Context()); !isUnreachable(err) {
		t.Errorf("a node that is away gives %v", err)
	}
}

// Waits that are counted in epochs follow the pace while they last, whoever asks,
// and a node that is away for a while changes nothing.
func TestWaitsFollowThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &epochNet{status: &api.NodeStatusDevnet{PaceMillis: 100}}
		e, err := learnEpochs(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		wait := e.spanOf(30)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.follow(ctx) }()
		for _, c := range []struct {
			pace int64
			gone error
			want time.Duration
		}{{100, nil, 3 * time.Second}, {4000, nil, 2 * time.Minute}, {1, errors.New("away"), 2 * time.Minute},
			{1, nil, 30 * time.Millisecond}} {
			synctest.Wait()
			n.status.PaceMillis, n.gone = c.pace, c.gone
			time.Sleep(paceEvery + 1)
			synctest.Wait()
			if got := wait(); got != c.want {
				t.Errorf("at a pace of %d ms 30 epochs take %s, want %s", c.pace, got, c.want)
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestEpochLengthThatNobodyNames(t *testing.T) {
	away := &api.ErrUnreachable{Peer: "node", Reason: "refused"}
	for name, c := range map[string]struct {
		net  *epochNet
		away bool
	}{
		"away at the first question":  {&epochNet{gone: away}, true},
		"away at the second question": {&epochNet{gone: errors.New("not found"), err: away}, true},
		"no delay":                    {&epochNet{gone: errors.New("not found")}, false},
		"a delay of hours":            {&epochNet{gone: errors.New("not found"), delay: 3601}, false},
		"an error":                    {&epochNet{gone: errors.New("not found"), err: errors.New("locked")}, false},
	} {
		if _, err := learnEpochs(t.Context(), c.net); err == nil || isUnreachable(err) != c.away {
			t.Errorf("%s: %v", name, err)
		}
	}
}
