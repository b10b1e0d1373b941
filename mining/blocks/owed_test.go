package blocks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
)

// The geometry of the net: that of every real network.
const (
	deadlines = 48
	window    = 60
	proving   = deadlines * window
)

func (n *net) SyncState(context.Context) (json.RawMessage, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sync == "" {
		return json.RawMessage(`{"ActiveSyncs":[]}`), n.fail("sync")
	}
	return json.RawMessage(n.sync), n.fail("sync")
}

func (n *net) deadlineAt(e abi.ChainEpoch) *dline.Info {
	into := e - n.period
	start := n.period + into/proving*proving
	return dline.NewInfo(start, uint64((e-start)/window), e, deadlines, proving, window, 20, 70)
}

func (n *net) StateMinerProvingDeadline(context.Context, address.Address, api.TipSetKey) (*dline.Info, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deadlineAt(n.head.Height), n.fail("deadline")
}

func (n *net) StateMinerDeadlines(context.Context, address.Address, api.TipSetKey) ([]api.Deadline, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]api.Deadline, deadlines)
	di := n.deadlineAt(n.head.Height)
	for i := range out {
		out[i].PostSubmissions = bitfield.New()
	}
	if n.posted[di.Open] {
		out[di.Index].PostSubmissions = bitfield.NewFromSet([]uint64{0})
	}
	return out, n.fail("deadlines")
}

func (n *net) StateMinerPartitions(_ context.Context, _ address.Address, index uint64, _ api.TipSetKey) ([]api.Partition, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.live[index] {
		return nil, n.fail("partitions")
	}
	some := bitfield.NewFromSet([]uint64{7})
	return []api.Partition{{
		AllSectors:        some,
		LiveSectors:       some,
		ActiveSectors:     some,
		FaultySectors:     bitfield.New(),
		RecoveringSectors: bitfield.New(),
	}}, n.fail("partitions")
}

func (n *net) ChainGetMessagesInTipset(_ context.Context, k api.TipSetKey) (out []api.CidMessage, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !k.Equal(n.head.Key()) {
		return nil, n.fail("messages")
	}
	for m := range n.included {
		out = append(out, m)
	}
	return out, n.fail("messages")
}

func (n *net) MpoolPending(context.Context, api.TipSetKey) ([]*api.SignedMessage, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pending, n.fail("pending")
}

// post makes a window PoSt message of partition 0 of a deadline.
func (n *net) post(deadline uint64) *api.Message {
	var buf bytes.Buffer
	err := (&miner.SubmitWindowedPoStParams{Deadline: deadline, Partitions: []miner.PoStPartition{{Index: 0, Skipped: bitfield.New()}},
		Proofs: []proof.PoStProof{}}).MarshalCBOR(&buf)
	if err != nil {
		panic(err)
	}
	return &api.Message{To: n.miner, Method: builtin.MethodsMiner.SubmitWindowedPoSt, Params: buf.Bytes()}
}

// After a silence the chain is bridged by a block in every deadline that the miner
// owes a proof in, and no null round passes one before its proof was sent.
func TestSilenceIsBridgedThroughOwnDeadlines(t *testing.T) {
	n := newNet(t)
	n.live = map[uint64]bool{2: true, 5: true}
	n.posted, n.included = map[abi.ChainEpoch]bool{}, map[api.CidMessage]bool{}
	n.open = 500
	n.scene(t, n.slept(), func(*Producer) {
		follow := func(want abi.ChainEpoch) {
			t.Helper()
			n.pass(pace)
			if got := n.submitted[len(n.submitted)-1].Header.Height; got != want {
				t.Fatalf("mined %d, want %d (all tried: %v)", got, want, n.tried)
			}
			n.grow(want, true)
			synctest.Wait()
		}
		for _, d := range []uint64{2, 5} {
			opens := abi.ChainEpoch(d * window)
			follow(opens + defaultSubmit + 1)
			count := len(n.submitted)
			n.pass(5 * time.Second) // the proof takes its time
			if len(n.submitted) != count {
				t.Fatalf("deadline %d: a block at %d passed the missing proof", d, n.submitted[count].Header.Height)
			}
			n.mu.Lock()
			n.pending = []*api.SignedMessage{{Message: *n.post(d)}}
			n.mu.Unlock()
			n.pass(time.Second)
			n.mu.Lock()
			n.pending, n.included = nil, map[api.CidMessage]bool{{Message: n.post(d)}: true}
			n.mu.Unlock()
			follow(opens + defaultSubmit + 2) // the block that takes it
			n.posted[opens] = true
		}
		n.pass(pace)
		if got := n.submitted[len(n.submitted)-1].Header.Height; got != 500 {
			t.Errorf("after the last deadline mined %d, want the open epoch 500", got)
		}
	})
}

// A proof that never comes is not waited for longer than a deadline lasts, and
// only once in a silence.
func TestProofThatNeverComesDoesNotStopProduction(t *testing.T) {
	n := newNet(t)
	n.live = map[uint64]bool{0: true, 1: true, 2: true}
	n.open = 400
	n.scene(t, n.slept(), func(p *Producer) {
		n.pass(pace)
		n.grow(5, true) // in deadline 0
		n.pass(leastHold - time.Second)
		if len(n.submitted) != 1 {
			t.Fatalf("mined %d blocks while the proof may still come: %d, tried %v", len(n.submitted), n.submitted[1].Header.Height,
				n.tried)
		}
		if s := p.Status(); s.Eligible || s.Reason == "" {
			t.Errorf("the status does not say what is waited for: %+v", s)
		}
		n.pass(3 * time.Second)
		for i, want := range []abi.ChainEpoch{65, 125, 400} {
			if got := n.submitted[len(n.submitted)-1].Header.Height; got != want {
				t.Fatalf("step %d: mined %d, want %d", i, got, want)
			}
			n.grow(want, true)
			n.pass(pace)
		}
	})
}

// What a node cannot tell about deadlines does not end production either.
func TestUnknownDeadlinesDoNotStopProduction(t *testing.T) {
	for _, what := range []string{"deadline", "partitions", "deadlines", "messages", "pending"} {
		t.Run(what, func(t *testing.T) {
			n := newNet(t)
			n.live = map[uint64]bool{0: true}
			n.head = n.tipset("seven", n.head, 7)
			n.open, n.failures[what] = 200, fmt.Errorf("no %s today", what)
			n.scene(t, n.slept(), func(*Producer) {
				n.pass(pace)
				if got := n.submitted[len(n.submitted)-1].Header.Height; got != 200 {
					t.Errorf("mined %d, want 200", got)
				}
			})
		})
	}
}
