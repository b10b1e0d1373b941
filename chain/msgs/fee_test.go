package msgs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

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
		if len(p) != 1 || p[0].Cid() == c || p[0].Message.Nonce != 0 || p[0].Message.GasPremium.String() != "1251" ||
			p[0].Message.GasFeeCap.String() != "11251" {
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
			cfg := Config{
				StuckEpochs: 4,
				MaxFee:      big.NewInt(1_300_000),
				Limit:       "Fees.One",
				BatchFee:    Fee{big.NewInt(1_000_000), big.NewInt(100_000)},
				BatchLimit:  "Fees.Many",
			}
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
