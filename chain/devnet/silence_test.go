package devnet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"quarry/api"
)

// openAs opens the fixture's chain with another configuration.
func (f *fixture) openAs(t testing.TB, cfg Config) *Node {
	t.Helper()
	cfg.SectorDir = f.dir
	n, err := New(t.Context(), cfg, Deps{Store: f.ds, Wallet: f.w, Engine: testEngine(t), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// runUntil runs the node until a condition holds of it, and stops it.
func runUntil(t *testing.T, n *Node, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	limit := time.Now().Add(2 * time.Minute)
	for !ok() && time.Now().Before(limit) {
		if err := n.waitEpoch(t.Context(), n.Epoch()+2); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !ok() {
		t.Fatalf("not %s at epoch %d, head %d", what, n.Epoch(), n.ledger.Head().Height)
	}
}

func (n *Node) genesisPower(t *testing.T) abi.StoragePower {
	t.Helper()
	p, err := n.StateMinerPower(t.Context(), n.params.Miner, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.MinerPower.QualityAdjPower
}

// The chain stood without a block for any number of epochs, with nobody who makes
// blocks, and the node was stopped. With its genesis miner it goes on at the epoch
// it had reached within seconds, and no power is lost on the way.
func TestStoppedChainCatchesUpWithoutLosingPower(t *testing.T) {
	for _, silence := range []abi.ChainEpoch{99, 100, 101, 1000, 6000} {
		t.Run(fmt.Sprint(silence), func(t *testing.T) {
			f := newFixture(t, "one")
			n := f.open(t)
			step(t, n, 3)
			for range silence {
				if err := n.closeEpoch(t.Context(), false); err != nil {
					t.Fatal(err)
				}
			}
			head, reached := n.ledger.Head(), n.Epoch()
			if err := n.blocks.commit(t.Context(), map[string][]byte{recEpoch: epochBytes(reached)}); err != nil {
				t.Fatal(err)
			}
			m := f.openAs(t, Config{Mine: true, IdleEpochs: 4})
			runUntil(t, m, "caught up", func() bool { return m.ledger.Head().Height > reached })
			if got := m.genesisPower(t); !got.Equals(big.NewInt(4096)) {
				t.Errorf("the genesis miner has a power of %s", got)
			}
			// Nothing was rewritten: the old head is part of the chain.
			if m.ledger.position(head) < 0 {
				t.Error("the old head left the chain")
			}
		})
	}
}

// Null rounds cost what they cost everybody: they make sectors faulty whose
// deadlines they pass. The genesis miner declares them recovered and proves them.
func TestGenesisMinerRegainsItsPower(t *testing.T) {
	f := newFixture(t, "one")
	n := f.open(t)
	step(t, n, 3)
	for range 2880 {
		if err := n.closeEpoch(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	// One block over all of it, as the rules allow on a head with power.
	if err := n.closeEpoch(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	v, err := n.headView(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.claim(t.Context(), n.params.Miner)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("power after the silence: %s; head %d", c.QualityAdjPower, n.ledger.Head().Height)
	_ = api.Claim{}
}
