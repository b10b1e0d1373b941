package mining

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-address"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/chain/heads"
	"quarry/chain/msgs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a node wires together must fit without adapters.
var (
	_ Chain   = api.Chain(nil)
	_ Storage = api.Storage(nil)
	_ Heads   = (*heads.Follower)(nil)
	_ Msgs    = (*msgs.Sender)(nil)
)

// untouchable fails the test on any use: calling a nil interface panics.
type untouchable struct {
	Chain
	Storage
	Heads
	Msgs
}

func newIdle(t *testing.T, store datastore.Batching) (*Mining, error) {
	t.Helper()
	a, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	u := untouchable{}
	return New(Config{Miner: a}, Deps{
		Store:   store,
		Chain:   struct{ Chain }{u.Chain},
		Storage: struct{ Storage }{u.Storage},
		Heads:   struct{ Heads }{u.Heads},
		Msgs:    struct{ Msgs }{u.Msgs},
	})
}

// On a network that takes only Groth16 nothing is called and nothing spent,
// and the status says why.
func TestIdleWithoutVanilla(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newIdle(t, dssync.MutexWrap(datastore.NewMapDatastore()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()
		st, err := m.MiningStatus(ctx)
		if err != nil || st.Eligible || !strings.Contains(st.Reason, "Groth16") {
			t.Errorf("status %+v, %v", st, err)
		}
		if _, err := m.ProvingStatus(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
}

func TestNewRefusesMissingCollaborators(t *testing.T) {
	var invalid *api.ErrInvalid
	if _, err := newIdle(t, nil); !errors.As(err, &invalid) {
		t.Errorf("without a store: %v", err)
	}
	if _, err := New(Config{}, Deps{Store: dssync.MutexWrap(datastore.NewMapDatastore())}); !errors.As(err, &invalid) {
		t.Errorf("without a chain: %v", err)
	}
}
