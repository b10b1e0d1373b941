package devnet

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
	"quarry/chain/msgs"
)

// until closes epochs until f holds.
func until(t *testing.T, n *Node, f func() bool) {
	t.Helper()
	for range 400 {
		if f() {
			return
		}
		step(t, n, 1)
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it never came to pass")
}

type waited struct {
	l   *api.MsgLookup
	err error
}

// The sender's messages against the real pool and the real actors: one stuck
// under its fee limit is named, freed by a higher limit, and replaced under its
// nonce; one whose nonce somebody else took is sent again.
func TestSenderOverDevnet(t *testing.T) {
	n := newFixture(t, "sender").open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 2)
	ds := dssync.MutexWrap(datastore.NewMapDatastore())
	open := func(limit int64) *msgs.Sender {
		return msgs.New(msgs.Config{Confidence: 2, StuckEpochs: 3, MaxFee: big.NewInt(limit), Limit: "Fees.Test"},
			msgs.Deps{Chain: n, Heads: ticker{n}, Store: ds})
	}
	wait := func(s *msgs.Sender, c cid.Cid) chan waited {
		out := make(chan waited, 1)
		go func() {
			l, err := s.Wait(t.Context(), c)
			out <- waited{l, err}
		}()
		return out
	}
	send := func(s *msgs.Sender, key string, value int64) cid.Cid {
		t.Helper()
		c, err := s.Send(t.Context(), key, &api.Message{To: n.params.Faucet, From: from, Value: big.NewInt(value)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	poor := open(1_000_000_000) // far below the base fee for any amount of gas
	stuck := send(poor, "stuck", 3)
	first := wait(poor, stuck)
	until(t, n, func() bool { return len(poor.Waiting()) == 1 })
	if w := poor.Waiting()[0]; w.Nonce != 0 || !strings.Contains(w.Reason, "Fees.Test does not allow to pay more") {
		t.Errorf("%+v", w)
	}
	rich := open(1_000_000_000_000_000)
	second := wait(rich, stuck)
	var got waited
	until(t, n, func() bool {
		select {
		case got = <-second:
			return true
		default:
			return false
		}
	})
	if got.err != nil || got.l.Message == stuck || got.l.Receipt.ExitCode != 0 {
		t.Fatalf("%+v, %v", got.l, got.err)
	}
	if got := <-first; got.err != nil { // who waited before learns of it too
		t.Error(got.err)
	}
	m, err := n.ChainGetMessage(t.Context(), got.l.Message)
	if err != nil || m.Nonce != 0 {
		t.Errorf("%+v, %v", m, err)
	}

	taken := send(rich, "taken", 5)
	mine := n.pool.at(from, 1)
	theirs := mine.Message
	theirs.Value, theirs.GasPremium = big.NewInt(1), big.Add(mine.Message.GasPremium, mine.Message.GasPremium)
	theirs.GasFeeCap = big.Add(mine.Message.GasFeeCap, theirs.GasPremium)
	other, err := n.WalletSignMessage(t.Context(), from, &theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.MpoolPush(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	third := wait(rich, taken)
	until(t, n, func() bool {
		select {
		case got = <-third:
			return true
		default:
			return false
		}
	})
	if got.err != nil || got.l.Message == taken {
		t.Fatalf("%+v, %v", got.l, got.err)
	}
	if m, err := n.ChainGetMessage(t.Context(), got.l.Message); err != nil || m.Nonce != 2 || m.Value.Int64() != 5 {
		t.Errorf("%+v, %v", m, err)
	}
}

// Many keyed messages from two addresses while blocks are made:
// each is on chain once, and as a receipt says.
func TestSendersWhileBlocksAreMade(t *testing.T) {
	n := newFixture(t, "crowd").open(t)
	step(t, n, 1)
	from := []address.Address{funded(t, n), funded(t, n)}
	step(t, n, 2)
	s := msgs.New(msgs.Config{Confidence: 2, StuckEpochs: 5},
		msgs.Deps{Chain: n, Heads: ticker{n}, Store: dssync.MutexWrap(datastore.NewMapDatastore())})
	const each, lanes = 12, 4
	var (
		g    sync.WaitGroup
		mu   sync.Mutex
		at   = map[cid.Cid]string{}
		over = make(chan struct{})
	)
	for lane := range lanes {
		g.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%d/%d", lane, i)
				c, err := s.Send(t.Context(), key, &api.Message{To: n.params.Faucet, From: from[lane%2],
					Value: big.NewInt(int64(1 + lane*each + i))})
				if err != nil {
					t.Errorf("%s: %v", key, err)
					return
				}
				l, err := s.Wait(t.Context(), c)
				if err != nil || l.Receipt.ExitCode != 0 {
					t.Errorf("%s: %+v, %v", key, l, err)
					return
				}
				mu.Lock()
				if was := at[l.Message]; was != "" {
					t.Errorf("%s and %s are one message", was, key)
				}
				at[l.Message] = key
				mu.Unlock()
			}
		})
	}
	go func() { g.Wait(); close(over) }()
	for running := true; running; {
		select {
		case <-over:
			running = false
		default:
			step(t, n, 1)
		}
	}
	if len(at) != each*lanes {
		t.Errorf("%d messages on chain", len(at))
	}
	for _, a := range from {
		if got, err := n.MpoolGetNonce(t.Context(), a); err != nil || got != each*lanes/2 {
			t.Errorf("next nonce of %s: %d, %v", a, got, err)
		}
	}
}

// ticker is the clock of a node whose epochs the test closes.
type ticker struct{ n *Node }

func (k ticker) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	for range k.n.notify.subscribe(ctx, k.n.ledger.Head) {
		if head := k.n.ledger.Head(); head.Height >= h {
			return head, nil
		}
	}
	return nil, ctx.Err()
}
