package msgs

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/big"

	"quarry/api"
)

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
		if w := l.s.Waiting(); len(w) != 1 || !strings.Contains(w[0].Reason, "Fees.One") || w[0].Key != "k" || w[0].CID != c ||
			w[0].From != l.from {
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
		if w := l.s.Waiting(); len(w) != 1 || !strings.Contains(w[0].Reason, "another message, "+other.Cid().String()+
			", waits with nonce 0") {
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
