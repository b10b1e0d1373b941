package devnet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

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

// runUntil runs the node until a condition holds of it, and stops it. It must hold
// within some epochs, however long those take.
func runUntil(t *testing.T, n *Node, what string, ok func() bool) {
	t.Helper()
	limit := max(n.reach, n.Epoch()) + 1000
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	for !ok() && n.Epoch() < limit {
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
	for _, silence := range []abi.ChainEpoch{99, 100, 101, 1000, 3000} {
		t.Run(fmt.Sprint(silence), func(t *testing.T) {
			if testing.Short() && silence > 1000 {
				t.Skip("more than a proving period")
			}
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

// Time stands still while the node is stopped: it goes on at the epoch where it
// was, at once, however long it was away.
func TestStoppedNodeGoesOnWhereItWas(t *testing.T) {
	f := newFixture(t, "one")
	last := abi.ChainEpoch(0)
	for round := range 3 {
		n := f.openAs(t, Config{Mine: true, IdleEpochs: 4, Pace: time.Millisecond})
		if e := n.Epoch(); e > last || last-e >= idleCommitEvery {
			t.Fatalf("round %d begins at epoch %d, the last ended at %d", round, e, last)
		}
		head := n.ledger.Head().Height
		runUntil(t, n, "at work", func() bool { return n.ledger.Head().Height > head+5 })
		last = n.Epoch()
	}
}

// What a miner is told about a round far above the head: a beacon entry for each
// round since, and the power of 900 rounds before, which is that after the head
// where the head is older (lotus chain/stmgr, GetLookbackTipSetForRound).
func TestBaseInfoFarAboveTheHead(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 3)
	head := n.ledger.Head()
	after, err := n.exec.after(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	for _, nulls := range []abi.ChainEpoch{0, 1, 99, 100, winningLookback - 2, winningLookback - 1, winningLookback, 1500} {
		round := head.Height + 1 + nulls
		info, err := n.cons.baseInfo(t.Context(), n.params.Miner, round, head)
		if err != nil || info == nil {
			t.Fatalf("%d null rounds: %v, %v", nulls, info, err)
		}
		got := info.BeaconEntries
		if len(got) != int(nulls)+1 || got[nulls].Round != uint64(round) || info.PrevBeaconEntry.Round != uint64(head.Height) {
			t.Errorf("%d null rounds: %d beacon entries", nulls, len(got))
		}
		if !info.EligibleForMining || !info.MinerPower.Equals(big.NewInt(4096)) || len(info.Sectors) != 1 {
			t.Errorf("%d null rounds: %+v", nulls, info)
		}
		root, err := n.cons.lookback(t.Context(), head, round)
		if err != nil {
			t.Fatal(err)
		}
		if old := round-winningLookback < head.Height; old == (root == after.State) {
			t.Errorf("%d null rounds: looks at the state after the head: %v", nulls, root == after.State)
		}
	}
}

// Sectors of the genesis miner that became faulty, whatever the reason, are
// declared recovered and proven by itself, and their power comes back.
func TestGenesisMinerRegainsItsPower(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 3)
	v, err := n.nowView(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st, _, err := v.miner(t.Context(), n.params.Miner)
	if err != nil {
		t.Fatal(err)
	}
	dl, part, err := st.FindSector(v.store, n.params.Sectors[0].Number)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := encodeParams(&miner.DeclareFaultsParams{Faults: []miner.FaultDeclaration{{Deadline: dl, Partition: part,
		Sectors: bitfield.NewFromSet([]uint64{uint64(n.params.Sectors[0].Number)})}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.MpoolPushMessage(t.Context(), &api.Message{To: n.params.Miner, From: n.params.Worker,
		Method: builtin.MethodsMiner.DeclareFaults, Params: raw}, nil); err != nil {
		t.Fatal(err)
	}
	step(t, n, 4)
	if got := n.genesisPower(t); !got.Equals(big.NewInt(2048)) {
		t.Fatalf("with one sector of two at fault the power is %s", got)
	}
	if _, err := n.DevnetWarp(t.Context(), 2880+60, false); err != nil {
		t.Fatal(err)
	}
	if got := n.genesisPower(t); !got.Equals(big.NewInt(4096)) {
		t.Errorf("after a day the power is %s", got)
	}
}

// What a window PoSt proves of a partition: each sector in its place, those that
// cannot be proven replaced by the first that can, and nothing where none can.
func TestProvableSectors(t *testing.T) {
	set := func(n ...uint64) bitfield.BitField { return bitfield.NewFromSet(n) }
	for name, c := range map[string]struct {
		part miner.Partition
		want string
	}{
		"all healthy":  {miner.Partition{Sectors: set(1, 2, 3), Faults: set(), Recoveries: set(), Terminated: set()}, "[1 2 3]"},
		"first faulty": {miner.Partition{Sectors: set(1, 2, 3), Faults: set(1), Recoveries: set(), Terminated: set()}, "[2 2 3]"},
		"recovering": {miner.Partition{Sectors: set(1, 2, 3), Faults: set(1, 3), Recoveries: set(1), Terminated: set()},
			"[1 2 1]"},
		"terminated": {miner.Partition{Sectors: set(1, 2, 3), Faults: set(), Recoveries: set(), Terminated: set(2, 3)},
			"[1 1 1]"},
		"all faulty":           {miner.Partition{Sectors: set(1, 2), Faults: set(1, 2), Recoveries: set(), Terminated: set()}, "[]"},
		"faulty or terminated": {miner.Partition{Sectors: set(1, 2), Faults: set(1), Recoveries: set(), Terminated: set(2)}, "[]"},
		"no sectors":           {miner.Partition{Sectors: set(), Faults: set(), Recoveries: set(), Terminated: set()}, "[]"},
	} {
		got, err := provable(&c.part)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, c.want)
		}
	}
}

// A message that cannot run in the open epoch any more, but could in a block for
// an earlier one, is taken: such a block may come, when the chain was silent.
func TestMessagesForRoundsBeforeTheOpenOneAreTaken(t *testing.T) {
	f := newFixture(t, "one")
	n := f.open(t)
	for { // until the next round lies in a deadline of the genesis miner
		due, err := n.genesis.due(t.Context(), n.Epoch()+1)
		if err != nil {
			t.Fatal(err)
		}
		if due {
			break
		}
		if _, err := n.DevnetWarp(t.Context(), 1, true); err != nil {
			t.Fatal(err)
		}
	}
	step(t, n, 5)
	head := n.ledger.Head()
	di, open, v, st, err := n.genesis.deadline(t.Context(), n.Epoch()+1)
	if err != nil || len(open) == 0 {
		t.Fatalf("%d partitions, %v", len(open), err)
	}
	params, err := n.genesis.windowParams(t.Context(), di, open, v, st)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := encodeParams(params)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 { // nobody mines, the deadline closes
		if err := n.closeEpoch(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.MpoolPushMessage(t.Context(), &api.Message{To: n.params.Miner, From: n.params.Worker,
		Method: builtin.MethodsMiner.SubmitWindowedPoSt, Params: raw}, nil); err != nil {
		t.Fatal(err)
	}
	tmpl, err := n.genesis.elect(t.Context(), head, head.Height+1)
	if err != nil || tmpl == nil {
		t.Fatal("not won", err)
	}
	if tmpl.Messages, err = n.MpoolSelect(t.Context(), head.Key(), 1); err != nil || len(tmpl.Messages) != 1 {
		t.Fatalf("%d messages, %v", len(tmpl.Messages), err)
	}
	b, err := n.MinerCreateBlock(t.Context(), tmpl)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.SyncSubmitBlock(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if h := n.ledger.Head(); h.Height != head.Height+1 || n.Epoch() < head.Height+100 {
		t.Fatalf("head %d, epoch %d", h.Height, n.Epoch())
	}
	l, err := n.StateSearchMsg(t.Context(), nil, tmpl.Messages[0].Cid(), -1, true)
	if err != nil {
		t.Fatal(err)
	}
	if l == nil { // executed with the next block
		step(t, n, 1)
		if l, err = n.StateSearchMsg(t.Context(), nil, tmpl.Messages[0].Cid(), -1, true); err != nil || l == nil {
			t.Fatal("not on chain", err)
		}
	}
	if l.Receipt.ExitCode != 0 {
		t.Errorf("exit code %d", l.Receipt.ExitCode)
	}
	if got := n.genesisPower(t); !got.Equals(big.NewInt(4096)) {
		t.Errorf("power %s", got)
	}
}
