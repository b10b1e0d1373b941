package window

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/dline"

	"quarry/api"
	"quarry/chain/heads"
	"quarry/internal/lifecycle"
)

// A sector over which the code panics costs the message of its own partitions:
// those of other messages and deadlines are proven, and its own too when it is
// mended before the deadline closes.
func TestPanicCostsItsOwnMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		for n := uint64(0); n < 8; n += 2 { // four partitions: two messages
			s.partition(2, []uint64{n, n + 1}, nil, nil, nil)
		}
		s.partition(4, []uint64{8, 9}, nil, nil, nil)
		s.poison = map[uint64]bool{0: true}
		p := s.start(t, memory())
		s.tick(2*simWindow + 5)
		if s.accepted != 1 {
			t.Errorf("%d messages of deadline 2 are on chain, want that of the other partitions", s.accepted)
		}
		s.mu.Lock()
		s.poison = nil
		s.mu.Unlock()
		time.Sleep(10 * time.Second) // longer than the pause between two tries
		s.tick(3)
		if s.accepted != 2 {
			t.Errorf("%d messages of deadline 2 are on chain, want both", s.accepted)
		}
		s.tick(2 * simWindow)
		if s.accepted != 3 {
			t.Errorf("%d messages are on chain, want that of deadline 4 too", s.accepted)
		}
		p.stop()
	})
}

// fallingChain panics once when it is asked for the current deadline.
type fallingChain struct {
	*sim
	armed atomic.Bool
}

func (f *fallingChain) StateMinerProvingDeadline(ctx context.Context, a address.Address, k api.TipSetKey) (*dline.Info, error) {
	if f.armed.CompareAndSwap(true, false) {
		panic("nil map")
	}
	return f.sim.StateMinerProvingDeadline(ctx, a, k)
}

// A panic in the loop itself ends the jobs of that life; the next one takes up
// the open deadline anew.
func TestLifeAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		chain := &fallingChain{sim: s}
		f := heads.New(heads.Config{}, heads.Deps{Chain: s})
		w, err := New(Config{Miner: s.miner, SubmitConfidence: 2, Settle: 8}, Deps{
			Store:  memory(),
			Chain:  chain,
			Prover: s,
			Heads:  f,
			Msgs:   s,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = f.Run(ctx) })
		wg.Go(func() { lifecycle.NewCatcher(nil).Again(ctx, "window PoSt", w.Run) })
		synctest.Wait()
		s.mu.Lock()
		s.hold = true
		s.mu.Unlock()
		s.tick(2*simWindow + 1) // proven, and not sent yet
		chain.armed.Store(true)
		s.tick(1)
		if chain.armed.Load() {
			t.Error("nothing panicked")
		}
		time.Sleep(2 * time.Second) // the pause before the next life
		s.mu.Lock()
		s.hold = false
		s.mu.Unlock()
		s.tick(6)
		if s.accepted != 1 {
			t.Errorf("%d messages are on chain", s.accepted)
		}
		cancel()
		wg.Wait()
	})
}
