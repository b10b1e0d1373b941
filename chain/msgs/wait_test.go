package msgs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

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

// A message below the base fee is replaced under its nonce, at the price that
// pools ask for, and its caller gets the receipt of the dearer one.
func TestStuckMessageIsReplaced(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 4, MaxFee: big.NewInt(1_000_000_000)})
		c := l.send("k") // cap 1200, premium 1000, gas 1000
		done := l.wait(c)
		l.m.mu.Lock()
		l.m.baseFee = 5000
		l.m.mu.Unlock()
		l.mine(3)
		synctest.Wait()
		if n := l.m.calls["WalletSignMessage"]; n != 0 {
			t.Fatal("replaced too early")
		}
		l.mine(1)
		time.Sleep(waitRetryMax)
		synctest.Wait()
		p := l.m.pending()
		if len(p) != 1 || p[0].Cid() == c || p[0].Message.Nonce != 0 || p[0].Message.GasPremium.String() != "1251" || p[0].Message.GasFeeCap.String() != "11251" {
			t.Fatalf("pending %+v", p[0].Message)
		}
		if r := l.record("k"); len(r.Made) != 2 || r.Made[1].CID != p[0].Cid() || r.Touched != 4 {
			t.Errorf("%+v", r)
		}
		if again := l.send("k"); again != p[0].Cid() {
			t.Errorf("the key is known as %s", again)
		}
		l.mine(8)
		if got := l.must(<-done); got.Message != p[0].Cid() {
			t.Errorf("%+v", got)
		}
		for _, asked := range []cid.Cid{c, p[0].Cid()} {
			if got := l.must(<-l.wait(asked)); got.Message != p[0].Cid() {
				t.Errorf("%s: %+v", asked, got)
			}
		}
		if len(l.s.Waiting()) != 0 {
			t.Errorf("%+v", l.s.Waiting())
		}
	})
}

// A base fee as high as the cap is paid: such a message is replaced only because
// it is next and not taken.
func TestReplacementNeedsAReason(t *testing.T) {
	for name, c := range map[string]struct {
		base     int64
		behind   bool // another message of the sender is next
		replaced bool
		says     string
	}{
		"next and not taken":         {1200, false, true, ""},
		"behind, cap as high":        {1200, true, false, "behind the message with nonce 0"},
		"behind, base fee above cap": {1201, true, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				l := newLab(t, Config{StuckEpochs: 4, MaxFee: big.NewInt(1_000_000_000)})
				if c.behind {
					l.m.foreign(l.from, false)
				}
				done := l.wait(l.send("k"))
				l.m.mu.Lock()
				l.m.baseFee = c.base
				l.m.mu.Unlock()
				for range 5 {
					time.Sleep(time.Second)
					l.m.mine(func(*api.SignedMessage) bool { return false })
				}
				time.Sleep(waitRetryMax)
				synctest.Wait()
				if got := len(l.record("k").Made) == 2; got != c.replaced {
					t.Errorf("replaced: %v", got)
				}
				w := l.s.Waiting()
				if (len(w) == 1) != (c.says != "") || c.says != "" && (!strings.Contains(w[0].Reason, c.says) || w[0].Key != "k") {
					t.Errorf("waiting: %+v", w)
				}
				l.mine(8)
				l.must(<-done)
				if n := l.m.executed("k"); n != 1 {
					t.Errorf("executed %d times", n)
				}
			})
		})
	}
}

// Where the fee limit stands in the way it is named, and who raises it frees the
// message; so does a base fee that falls.
func TestFeeLimitIsNamed(t *testing.T) {
	for _, batch := range []bool{false, true} {
		in(t, func(t *testing.T) {
			cfg := Config{StuckEpochs: 4, MaxFee: big.NewInt(1_300_000), Limit: "Fees.One", BatchFee: Fee{big.NewInt(1_000_000), big.NewInt(100_000)}, BatchLimit: "Fees.Many"}
			l := newLab(t, cfg)
			name := cfg.Limit
			c := cid.Undef
			var err error
			if batch {
				name = cfg.BatchLimit
				c, err = l.s.Batch(3).Send(t.Context(), "k", l.message("k"))
			} else {
				c, err = l.s.Send(t.Context(), "k", l.message("k"))
			}
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { _, err := l.s.Wait(ctx, c); ended <- err }()
			l.m.mu.Lock()
			l.m.baseFee = 5000
			l.m.mu.Unlock()
			l.mine(4)
			time.Sleep(waitRetryMax)
			l.mine(8)
			time.Sleep(waitRetryMax)
			synctest.Wait()
			w := l.s.Waiting()
			if len(w) != 1 || w[0].Key != "k" || w[0].CID != c || w[0].Nonce != 0 || w[0].From != l.m.key(l.from) || w[0].Since != 0 ||
				!strings.Contains(w[0].Reason, name+" does not allow to pay more: the base fee of 5000 attoFIL is above the 1300") {
				t.Fatalf("%+v", w)
			}
			if n := strings.Count(l.log.String(), "msg=\"a message waits\""); n != 1 {
				t.Errorf("said %d times", n)
			}
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if len(l.s.Waiting()) != 0 {
				t.Errorf("nobody waits: %+v", l.s.Waiting())
			}
			cfg.MaxFee, cfg.BatchFee.PerSector = big.NewInt(20_000_000), big.NewInt(7_000_000)
			l.restart(cfg)
			done := l.wait(c)
			l.mine(5)
			time.Sleep(waitRetryMax)
			l.mine(9)
			if got := l.must(<-done); got.Message == c {
				t.Error("the old message cannot be on chain")
			}
		})
	}
}

// A nonce that went to somebody else's message is given up when that is as
// certain as a receipt; then the call is made under a new nonce, once.
func TestTakenNonceIsSentAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 1})
		c := l.send("k")
		l.m.foreign(l.from, true)
		done := l.wait(c)
		l.mine(3)
		time.Sleep(waitRetryMax)
		synctest.Wait()
		w := l.s.Waiting()
		if len(w) != 1 || !strings.Contains(w[0].Reason, "another message took nonce 0") {
			t.Fatalf("%+v", w)
		}
		l.mine(3) // its receipt is in epoch 2; at 6 it is four epochs old
		time.Sleep(waitRetryMax)
		synctest.Wait()
		if n := len(l.record("k").Made); n != 1 {
			t.Fatalf("sent again while the other message could be reverted")
		}
		l.mine(1)
		time.Sleep(2 * waitRetryMax)
		synctest.Wait()
		r := l.record("k")
		if len(r.Made) != 2 || l.m.known[r.Made[1].CID].Message.Nonce != 1 || r.open() {
			t.Fatalf("%+v", r)
		}
		l.mine(10)
		if got := l.must(<-done); got.Message != r.Made[1].CID || l.m.executed("k") != 1 {
			t.Errorf("%+v, executed %d times", got, l.m.executed("k"))
		}
	})
}

// When the other message is reverted after all, ours keeps its nonce.
func TestRevertedForeignMessage(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 2})
		c := l.send("k")
		other := l.m.foreign(l.from, true)
		done := l.wait(c)
		l.mine(5)
		time.Sleep(waitRetryMax)
		l.m.reorg(5, func() bool { return false })
		if l.m.executed(string(other.Message.Params)) != 0 {
			t.Fatal("still there")
		}
		for range 4 {
			l.mine(5)
			time.Sleep(waitRetryMax)
		}
		if got := l.must(<-done); got.Message != c || len(l.record("k").Made) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// A call that cannot be made any more ends the wait: its caller looks at the
// chain and decides. A sender without funds, or a node that is away, does not.
func TestSendingAgainMayBeRefused(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 1, Limit: "Fees.One"})
		c := l.send("k")
		l.m.foreign(l.from, true)
		l.mine(7)
		var mu sync.Mutex
		fault := errors.New("mpool push: not enough funds: 1 < 2")
		l.m.pushFault = func(*api.Message) (error, error) { mu.Lock(); defer mu.Unlock(); return fault, nil }
		done := l.wait(c)
		time.Sleep(time.Minute)
		synctest.Wait()
		if w := l.s.Waiting(); len(w) != 1 || !strings.Contains(w[0].Reason, "Fees.One") || w[0].Key != "k" || w[0].CID != c || w[0].From != l.from {
			t.Fatalf("%+v", w)
		}
		if n := l.m.count("MpoolPushMessage"); n < 8 || n > 30 {
			t.Errorf("%d tries in a minute", n)
		}
		mu.Lock()
		fault = errors.New("message execution failed: exit 16")
		mu.Unlock()
		r := <-done
		if !errors.Is(r.err, ErrReplaced) || !errors.Is(r.err, ErrRefused) || !strings.Contains(r.err.Error(), c.String()) {
			t.Errorf("%v", r.err)
		}
		if len(l.record("k").Made) != 1 {
			t.Errorf("%+v", l.record("k"))
		}
	})
}

// Somebody else's pending message is not pushed out of the pool by ours.
func TestForeignHolderIsLeftAlone(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 4, MaxFee: big.NewInt(1 << 60)})
		c := l.send("k")
		other := l.m.foreign(l.from, true)
		l.m.mu.Lock()
		l.m.baseFee = 1 << 40
		l.m.mu.Unlock()
		done := l.wait(c)
		l.mine(5)
		time.Sleep(waitRetryMax)
		synctest.Wait()
		if w := l.s.Waiting(); len(w) != 1 || !strings.Contains(w[0].Reason, "another message, "+other.Cid().String()+", waits with nonce 0") {
			t.Errorf("%+v", w)
		}
		if p := l.m.pending(); len(p) != 1 || p[0].Cid() != other.Cid() || l.m.calls["WalletSignMessage"] != 0 {
			t.Errorf("%+v", p)
		}
		l.m.mu.Lock()
		l.m.baseFee = 100
		l.m.mu.Unlock()
		for range 6 {
			l.mine(5)
			time.Sleep(waitRetryMax)
		}
		l.must(<-done)
	})
}

// A node that will not take the message is named.
func TestMessageThatNoPoolTakes(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 4})
		c := l.send("k")
		l.m.losePool(func() bool { return true })
		l.m.funds = 0
		done := l.wait(c)
		l.mine(5)
		time.Sleep(waitRetryMax)
		synctest.Wait()
		if w := l.s.Waiting(); len(w) != 1 || !strings.Contains(w[0].Reason, "does not take nonce 0 of "+l.m.key(l.from).String()) {
			t.Errorf("%+v", w)
		}
		l.m.mu.Lock()
		l.m.funds = 1 << 60
		l.m.mu.Unlock()
		l.mine(5)
		time.Sleep(waitRetryMax)
		l.mine(8)
		l.must(<-done)
	})
}

// A replacement that the pool refuses is offered again, not a dearer one each time.
func TestRefusedReplacementIsOfferedAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		l := newLab(t, Config{StuckEpochs: 4, MaxFee: big.NewInt(1_000_000_000)})
		c := l.send("k")
		l.m.mu.Lock()
		l.m.baseFee, l.m.funds = 5000, 2_000_000
		l.m.mu.Unlock()
		done := l.wait(c)
		for range 3 {
			l.mine(5)
			time.Sleep(2 * waitRetryMax)
		}
		synctest.Wait()
		if r := l.record("k"); len(r.Made) != 2 || len(l.m.pending()) != 1 || l.m.pending()[0].Cid() != c {
			t.Fatalf("%d made", len(r.Made))
		}
		l.m.mu.Lock()
		l.m.funds = 1 << 60
		l.m.mu.Unlock()
		for range 3 {
			l.mine(6)
			time.Sleep(2 * waitRetryMax)
		}
		if got := l.must(<-done); got.Message != l.record("k").Made[1].CID {
			t.Errorf("%+v", got)
		}
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
		l.m.place(&api.Message{To: lost.Message.To, From: lost.Message.From, Nonce: 1, Value: big.NewInt(9), GasLimit: 1000, GasFeeCap: big.NewInt(1 << 40), GasPremium: big.NewInt(1 << 40)})
		l.m.mu.Unlock()
		l.mine(3)
		if r := <-done; !errors.Is(r.err, ErrReplaced) || errors.Is(r.err, ErrRefused) || !strings.Contains(r.err.Error(), lost.Cid().String()) {
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
