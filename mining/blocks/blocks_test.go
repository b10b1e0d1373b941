package blocks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/chain/heads"
	"quarry/proofs/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene runs a producer over the net inside a bubble.
func (n *net) scene(t *testing.T, cfg Config, body func(p *Producer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := heads.New(heads.Config{IdleCheck: time.Hour}, heads.Deps{Chain: n})
		cfg.Miner = n.miner
		p, err := New(cfg, Deps{
			Store:  n.stored,
			Chain:  n,
			Prover: n,
			Snark:  n.snark,
			Heads:  f,
			Log:    n.log,
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = f.Run(ctx) })
		wg.Go(func() {
			if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
		})
		synctest.Wait()
		body(p)
		cancel()
		wg.Wait()
		if p.Status().Running {
			t.Error("still running after Run ended")
		}
	})
}

var devnet = Config{EpochWall: func() time.Duration { return pace }}

func TestMinesOnEveryHead(t *testing.T) {
	n := newNet(t)
	n.scene(t, devnet, func(p *Producer) {
		for h := abi.ChainEpoch(1); h <= 5; h++ {
			n.grow(h, true)
			synctest.Wait()
		}
		st := p.Status()
		if st.BlocksWon != 6 || len(n.submitted) != 6 || !st.Eligible || st.LastErr != "" || st.LastBlock == nil {
			t.Errorf("status %+v with %d blocks", st, len(n.submitted))
		}
		b := n.submitted[5].Header
		c, ok := envelope.Parse(b.WinPoStProof[0].ProofBytes)
		if !ok || n.blobs[c] == nil || b.WinPoStProof[0].PoStProof != abi.RegisteredPoStProof_StackedDrgWinning8MiBV1 {
			t.Errorf("winning proof field %+v", b.WinPoStProof)
		}
		if b.Height != 6 || b.Timestamp != n.head.MinTimestamp()+1 || len(b.BeaconEntries) != 1 || b.ElectionProof.WinCount != 7 {
			t.Errorf("header %+v", b)
		}
	})
	again, err := New(Config{Miner: n.miner}, Deps{Store: n.stored})
	if err != nil || again.Status().BlocksWon != 6 {
		t.Errorf("after reopening: %+v, %v", again.Status(), err)
	}
}

func TestNullRounds(t *testing.T) {
	n := newNet(t)
	n.power = 0 // nothing is won
	n.scene(t, devnet, func(*Producer) {
		n.pass(2*pace + pace/2)
		if got := fmt.Sprint(n.tried); got != "[1 2 3]" {
			t.Errorf("tried epochs %s within two and a half epochs, want [1 2 3]", got)
		}
		n.grow(3, false)
		synctest.Wait()
		if got := fmt.Sprint(n.tried); got != "[1 2 3 4]" {
			t.Errorf("after a head at 3 tried %s", got)
		}
		n.pass(time.Hour)
		if got := len(n.tried); got < 30_000 {
			t.Errorf("in an hour without heads tried %d rounds", got)
		}
	})
}

// Won, but the head moves while the proof is made: it is given up at once, nothing
// is submitted, and the next epoch is tried without waiting for it.
func TestTooLate(t *testing.T) {
	n := newNet(t)
	n.proving = 80 * time.Millisecond
	n.scene(t, devnet, func(p *Producer) {
		n.pass(40 * time.Millisecond)
		n.grow(1, false)
		n.pass(time.Millisecond)
		if len(n.submitted) != 0 || !strings.Contains(p.Status().LastErr, "moved on") || fmt.Sprint(n.tried) != "[1 2]" {
			t.Errorf("%d blocks submitted, tried %v, last error %q", len(n.submitted), n.tried, p.Status().LastErr)
		}
		n.pass(80 * time.Millisecond)
		if len(n.submitted) != 1 || n.submitted[0].Header.Height != 2 {
			t.Errorf("the next epoch was not mined: %d blocks", len(n.submitted))
		}
	})
}

// Our block for the base exists: null rounds on it bring the same block again,
// and a base without our block is refused.
func TestGuardStopsBlocks(t *testing.T) {
	n := newNet(t)
	n.scene(t, devnet, func(p *Producer) {
		n.pass(2 * pace) // null rounds on genesis
		if len(n.submitted) != 1 || n.resubmitted != 1 || p.Status().BlocksWon != 1 {
			t.Errorf("%d blocks, %d again, %+v", len(n.submitted), n.resubmitted, p.Status())
		}
		n.grow(1, false) // a head at height 1 without our block
		synctest.Wait()
		if len(n.submitted) != 1 || !strings.Contains(p.Status().LastErr, "grinding") {
			t.Errorf("%d blocks, %q", len(n.submitted), p.Status().LastErr)
		}
		n.grow(2, false)
		synctest.Wait()
		if len(n.submitted) != 2 {
			t.Errorf("mining did not go on: %q", p.Status().LastErr)
		}
	})
}

// The answer to a submission is lost. The same block goes out again, from the
// next process if need be, and no other on its parents.
func TestUnknownFate(t *testing.T) {
	n := newNet(t)
	n.failures["submit"] = &api.ErrUnreachable{Peer: "node", Reason: "reset"}
	n.scene(t, devnet, func(p *Producer) {
		if st := p.Status(); st.BlocksWon != 0 || len(n.submitted) != 1 {
			t.Errorf("status %+v", st)
		}
	})
	n.failures = map[string]error{}
	n.scene(t, devnet, func(p *Producer) {
		if st := p.Status(); st.BlocksWon != 1 || len(n.submitted) != 1 || n.resubmitted != 1 {
			t.Errorf("after a restart %+v, %d blocks, %d again", st, len(n.submitted), n.resubmitted)
		}
		n.pass(2 * pace)
		if st := p.Status(); st.BlocksWon != 1 || len(n.submitted) != 1 {
			t.Errorf("counted again: %+v", st)
		}
	})
}

// A devnet refuses a block; its place is free for the next.
func TestRefusedBlockDoesNotBlock(t *testing.T) {
	n := newNet(t)
	n.failures["submit"] = &api.ErrInvalid{What: "block", Reason: "the epoch is in the future"}
	n.scene(t, devnet, func(p *Producer) {
		n.mu.Lock()
		n.failures = map[string]error{}
		n.mu.Unlock()
		n.pass(2 * pace)
		if st := p.Status(); len(n.submitted) != 2 || n.submitted[1].Header.Height != 2 || st.BlocksWon != 1 {
			t.Errorf("%d blocks, %+v", len(n.submitted), st)
		}
	})
}

func TestFailuresAreReportedAndSurvived(t *testing.T) {
	for what, mines := range map[string]int{"info": 0, "sign": 0, "prove": 0, "put": 0, "create": 0, "select": 1, "submit": 1} {
		t.Run(what, func(t *testing.T) {
			n := newNet(t)
			n.failures[what] = errors.New("trouble with " + what)
			n.scene(t, devnet, func(p *Producer) {
				st := p.Status()
				if len(n.submitted) != mines || (what != "select") != strings.Contains(st.LastErr, "trouble with "+what) {
					t.Errorf("%d blocks, last error %q", len(n.submitted), st.LastErr)
				}
				n.mu.Lock()
				n.failures = map[string]error{}
				n.mu.Unlock()
				n.grow(9, false)
				synctest.Wait()
				if len(n.submitted) != mines+1 {
					t.Error("mining did not go on")
				}
			})
		})
	}
}

func TestNotEligible(t *testing.T) {
	for name, set := range map[string]func(*net){
		"no base info": func(n *net) { n.nothing = true },
		"below power":  func(n *net) { n.eligible = false },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNet(t)
			set(n)
			n.scene(t, devnet, func(p *Producer) {
				if st := p.Status(); st.Eligible || st.Reason == "" || st.LastErr != "" || len(n.submitted) != 0 {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

// On a real network the timestamps rule: not before the blocks of the base had
// time to arrive, and never a block from the future.
func TestRealTime(t *testing.T) {
	n := newNet(t)
	n.head.Blocks[0].Timestamp = 946684800 // 2000-01-01, when the bubble starts
	n.scene(t, Config{Propagation: 300 * time.Millisecond}, func(*Producer) {
		n.pass(299 * time.Millisecond)
		if len(n.tried) != 0 {
			t.Error("tried before the base was complete")
		}
		n.pass(2 * time.Millisecond)
		if len(n.tried) != 1 || len(n.submitted) != 0 {
			t.Errorf("tried %v, submitted %d", n.tried, len(n.submitted))
		}
		n.pass(time.Second)
		if len(n.submitted) != 1 {
			t.Errorf("%d blocks after their time", len(n.submitted))
		}
	})
}

func TestPacer(t *testing.T) {
	var p pacer
	if p.estimate(time.Second) != time.Second {
		t.Error("no fallback")
	}
	at := time.Unix(0, 0)
	for h := abi.ChainEpoch(0); h < 100; h += 2 { // null rounds in between
		p.observe(h, at)
		at = at.Add(200 * time.Millisecond)
	}
	if got := p.estimate(0); got != 100*time.Millisecond {
		t.Errorf("estimates %s", got)
	}
	for range 100 { // reverts teach nothing
		p.observe(3, at)
	}
	if got := p.estimate(0); got != 100*time.Millisecond {
		t.Errorf("estimates %s after reverts", got)
	}
	for h := abi.ChainEpoch(1000); h < 1100; h++ { // a burst
		p.observe(h, at)
	}
	if got := p.estimate(0); got < minPace {
		t.Errorf("estimates %s after a burst", got)
	}
}

func TestRefusesRobustAddress(t *testing.T) {
	a, err := address.NewActorAddress([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	var invalid *api.ErrInvalid
	if _, err := New(Config{Miner: a}, Deps{}); !errors.As(err, &invalid) {
		t.Errorf("got %v", err)
	}
}
