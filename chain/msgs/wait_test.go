package msgs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"quarry/api"
)

// in runs a test with a fake clock.
func in(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// The receipt is believed when it is as old as the confidence, not before.
func TestWaitForConfidence(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{})
		c := l.send("k")
		done := l.wait(c)
		l.mine(6) // in the tipset of epoch 1, its receipt in that of 2
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("believed too early")
		}
		l.mine(1)
		got := l.must(<-done)
		if got.Message != c || got.Height != 2 || l.m.head().ts.Height != 7 {
			t.Errorf("%+v at %d", got, l.m.head().ts.Height)
		}
		// Asked for again, also under a key, it is there at once.
		if again := l.must(<-l.wait(c)); again.Height != 2 {
			t.Errorf("%+v", again)
		}
		if again, err := l.s.Batch(1).Wait(t.Context(), c); err != nil || again.Height != 2 {
			t.Errorf("%+v, %v", again, err)
		}
	})
}

// A node that lost its pool gets the message back; it is not a new one.
func TestLostMessageIsPushedAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 4})
		c := l.send("k")
		done := l.wait(c)
		l.m.losePool(func() bool { return true })
		l.mine(3)
		synctest.Wait()
		if len(l.m.pending()) != 0 {
			t.Fatal("pushed again before it was time")
		}
		l.mine(9)
		time.Sleep(waitRetryMax)
		l.mine(9)
		if got := l.must(<-done); got.Message != c {
			t.Errorf("%+v", got)
		}
		if n := l.m.executed("k"); n != 1 || l.m.calls["WalletSignMessage"] != 0 {
			t.Errorf("executed %d times, %d signatures", n, l.m.calls["WalletSignMessage"])
		}
	})
}

// Another node that has never seen the message gets it at once.
func TestNewNodeGetsTheMessage(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 1000})
		c := l.send("k")
		l.m.losePool(func() bool { return true })
		delete(l.m.known, c)
		done := l.wait(c)
		time.Sleep(waitRetryMin)
		synctest.Wait()
		if p := l.m.pending(); len(p) != 1 || p[0].Cid() != c {
			t.Errorf("pending %v", p)
		}
		l.mine(8)
		l.must(<-done)
	})
}

// Messages that are not this sender's are followed by their CID alone.
func TestWaitForForeignMessage(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{})
		other := l.m.foreign(l.from, false)
		done := l.wait(other.Cid())
		l.mine(8)
		l.must(<-done)

		lost := l.m.foreign(l.from, false)
		done = l.wait(lost.Cid())
		l.m.mu.Lock()
		l.m.place(&api.Message{
			To:         lost.Message.To,
			From:       lost.Message.From,
			Nonce:      1,
			Value:      big.NewInt(9),
			GasLimit:   1000,
			GasFeeCap:  big.NewInt(1 << 40),
			GasPremium: big.NewInt(1 << 40),
		})
		l.m.mu.Unlock()
		l.mine(3)
		if r := <-done; !errors.Is(r.err, ErrReplaced) || errors.Is(r.err, ErrRefused) ||
			!strings.Contains(r.err.Error(), lost.Cid().String()) {
			t.Errorf("%+v", r)
		}
		if l.m.calls["MpoolPush"] != 0 {
			t.Error("somebody else's message was pushed")
		}
	})
}

// The end of the context ends the wait, also while the node is away.
func TestWaitEndsWithContext(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 1})
		c := l.send("k")
		for _, method := range []string{"", "ChainHead", "StateGetActor"} {
			l.s.deps.Chain = &away{model: l.m, method: method}
			l.s.deps.Heads = poller{l.m}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			if _, err := l.s.Wait(ctx, c); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), c.String()) {
				t.Errorf("%s: %v", method, err)
			}
			stop()
		}
	})
}

// A node that is away is asked again, at growing distances, and the trouble is
// told once.
func TestWaitOutlivesTheNode(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 2})
		c := l.send("k")
		l.m.mine(nil)
		l.m.mine(nil)
		l.m.mine(nil)
		l.m.searchErr = errAway
		began := time.Now()
		done := l.wait(c)
		l.mine(5)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(done) != 1 { // StateWaitMsg answers, whatever the search says
			t.Fatal("no answer")
		}
		l.must(<-done)
		if time.Since(began) < time.Minute {
			t.Error("the clock stood still")
		}
		l.m.searchErr = nil
	})
}

// A failed search decides nothing: the message may be on chain.
func TestFailedSearchDecidesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 1})
		c := l.send("k")
		l.m.foreign(l.from, true)
		l.mine(9)
		l.m.searchErr = errAway
		done := l.wait(c)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(l.record("k").Made) != 1 || len(done) != 0 {
			t.Fatal("sent again without knowing")
		}
		if n := strings.Count(l.log.String(), "level=INFO msg=\"cannot look after a message\""); n != 1 {
			t.Errorf("told %d times", n)
		}
		l.m.mu.Lock()
		l.m.searchErr = nil
		l.m.mu.Unlock()
		time.Sleep(2 * waitRetryMax)
		l.mine(8)
		l.must(<-done)
		if l.m.executed("k") != 1 {
			t.Errorf("executed %d times", l.m.executed("k"))
		}
	})
}

// A key that is forgotten while somebody waits is followed by its CID.
func TestForgottenWhileWaiting(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 2})
		c := l.send("k")
		done := l.wait(c)
		synctest.Wait()
		if err := l.s.Forget(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			l.mine(4)
			time.Sleep(waitRetryMax)
		}
		l.must(<-done)
	})
}

// A process that died between sending again and its note finds what it sent.
func TestCrashWhileSendingAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 1})
		c := l.send("k")
		l.m.foreign(l.from, true)
		l.mine(7)
		ctx, die := context.WithCancel(t.Context())
		l.m.pushFault = func(*api.Message) (error, error) { die(); return nil, context.Canceled }
		if _, err := l.s.Wait(ctx, c); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		l.m.pushFault = nil
		if r := l.record("k"); !r.open() || len(r.Made) != 1 {
			t.Fatalf("%+v", r)
		}
		l.m.forgetUUIDs()
		l.restart(Config{StuckEpochs: 1})
		if got := l.send("k"); got == c {
			t.Error("the key is still known by the message that is lost")
		}
		done := l.wait(c)
		l.mine(8)
		time.Sleep(waitRetryMax)
		l.must(<-done)
		if l.m.executed("k") != 1 || l.m.calls["MpoolPushMessage"] != 2 {
			t.Errorf("executed %d times, %v", l.m.executed("k"), l.m.calls)
		}
	})
}

// clock is a head follower.
type clock struct {
	m     *model
	asked []abi.ChainEpoch
}

func (c *clock) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	c.m.mu.Lock()
	c.asked = append(c.asked, h)
	c.m.mu.Unlock()
	return poller{c.m}.WaitHeight(ctx, h)
}

// The next look is so many epochs after the last one; the default is ten.
func TestWhenToLook(t *testing.T) {
	in(t, func(t *testing.T) {
		for span, first := range map[abi.ChainEpoch]abi.ChainEpoch{0: 13, -1: 13, 4: 7} {
			l := newLab(t, Config{})
			l.idle(3)
			k := &clock{m: l.m}
			l.s = New(Config{Confidence: 5, StuckEpochs: span}, Deps{Chain: l.m, Heads: k, Store: l.ds})
			done := l.wait(l.send("k"))
			synctest.Wait()
			if len(k.asked) != 1 || k.asked[0] != first {
				t.Errorf("span %d: %v", span, k.asked)
			}
			l.mine(7)
			l.must(<-done)
		}
	})
}

// What the chain says of a message, epoch by epoch: on both sides of the moment at
// which a receipt, or a nonce taken by another message, is as old as it must be.
func TestLook(t *testing.T) {
	l := newLab(t, Config{})
	l.send("k")
	for _, c := range []struct {
		epochs       int
		landed, sure bool
	}{{0, false, false}, {1, false, false}, {1, true, false}, {4, true, false}, {1, true, true}, {1, true, true}} {
		l.idle(c.epochs)
		v, err := l.s.look(t.Context(), l.record("k"))
		if err != nil || (v.landed != nil) != c.landed || v.sure != c.sure || v.spent {
			t.Errorf("at %d: %+v, %v", v.head.Height, v, err)
		}
	}
	l = newLab(t, Config{})
	l.send("k")
	l.m.foreign(l.from, true)
	for _, c := range []struct {
		epochs int
		next   uint64
		spent  bool
	}{{0, 0, false}, {1, 0, false}, {1, 1, false}, {4, 1, false}, {1, 1, true}} {
		l.idle(c.epochs)
		v, err := l.s.look(t.Context(), l.record("k"))
		if err != nil || v.landed != nil || v.next != c.next || v.spent != c.spent {
			t.Errorf("at %d: %+v, %v", v.head.Height, v, err)
		}
	}
}

// Waiting lists by key.
func TestWaitingIsSorted(t *testing.T) {
	s := New(Config{}, Deps{})
	for _, k := range []string{"b", "c", "a"} {
		s.setWaiting(&waiter{key: k}, Status{Key: k, Reason: "x"})
	}
	w := s.Waiting()
	if len(w) != 3 || w[0].Key != "a" || w[1].Key != "b" || w[2].Key != "c" {
		t.Errorf("%+v", w)
	}
	s.settled(&waiter{key: "b"})
	if w := s.Waiting(); len(w) != 2 {
		t.Errorf("%+v", w)
	}
}

// Without blocks there is no base fee.
func TestBaseFee(t *testing.T) {
	if f := baseFee(&api.TipSet{}); !f.IsZero() {
		t.Error(f)
	}
	if f := baseFee(&api.TipSet{Blocks: []*api.BlockHeader{{ParentBaseFee: big.NewInt(7)}}}); f.String() != "7" {
		t.Error(f)
	}
}
