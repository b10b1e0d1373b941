package msgs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	cbg "github.com/whyrusleeping/cbor-gen"
	"go.uber.org/goleak"

	"quarry/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func store() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

// lab is a model chain with one sender over it.
type lab struct {
	t    *testing.T
	m    *model
	from address.Address
	ds   datastore.Batching
	log  *strings.Builder
	s    *Sender
}

func newLab(t *testing.T, cfg Config) *lab {
	l := &lab{t: t, m: newModel(), ds: store(), log: new(strings.Builder)}
	l.from = l.m.signer(100)
	l.restart(cfg)
	return l
}

// restart opens the store with a new sender.
func (l *lab) restart(cfg Config) {
	if cfg.Confidence == 0 {
		cfg.Confidence = 5
	}
	l.s = New(cfg, Deps{Chain: l.m, Store: l.ds, Log: slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
}

func (l *lab) message(params string) *api.Message {
	to, _ := address.NewIDAddress(1000)
	return &api.Message{To: to, From: l.from, Method: 5, Params: []byte(params)}
}

func (l *lab) send(key string) cid.Cid {
	l.t.Helper()
	c, err := l.s.Send(l.t.Context(), key, l.message(key))
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func (l *lab) record(key string) record {
	l.t.Helper()
	r, found, err := l.s.load(l.t.Context(), key)
	if err != nil || !found {
		l.t.Fatalf("record of %s: %v, %v", key, found, err)
	}
	return r
}

// mineFor makes epochs, a second each, until stop.
func (l *lab) mine(epochs int) {
	for range epochs {
		time.Sleep(time.Second)
		l.m.mine(nil)
	}
}

// waitFor waits in the background; the result comes when the message is on chain.
func (l *lab) wait(c cid.Cid) <-chan result {
	out := make(chan result, 1)
	go func() {
		lookup, err := l.s.Wait(l.t.Context(), c)
		out <- result{lookup, err}
	}()
	return out
}

type result struct {
	l   *api.MsgLookup
	err error
}

func (l *lab) must(r result) *api.MsgLookup {
	l.t.Helper()
	if r.err != nil || r.l == nil {
		l.t.Fatalf("%+v, %v", r.l, r.err)
	}
	return r.l
}

func TestSendIsKeyed(t *testing.T) {
	l := newLab(t, Config{MaxFee: big.NewInt(1_100_000)})
	var wg sync.WaitGroup
	got := make([]cid.Cid, 8)
	for i := range got {
		wg.Go(func() {
			c, err := l.s.Send(t.Context(), "a/b c", l.message("x"))
			if err != nil {
				t.Error(err)
			}
			got[i] = c
		})
	}
	wg.Wait()
	for _, c := range got {
		if c != got[0] {
			t.Fatalf("one key, several messages: %v", got)
		}
	}
	if n := l.m.calls["MpoolPushMessage"]; n != 1 {
		t.Errorf("%d pushes", n)
	}
	if len(l.s.locks) != 0 {
		t.Errorf("%d locks are left", len(l.s.locks))
	}
	p := l.m.pending()
	if len(p) != 1 || p[0].Message.GasFeeCap.String() != "1100" {
		t.Errorf("the limit did not reach the node: %+v", p)
	}
	other := l.send("a/b d")
	if other == got[0] {
		t.Error("two keys, one message")
	}
	l.restart(Config{})
	if c, ok, err := l.s.Sent(t.Context(), "a/b c"); !ok || err != nil || c != got[0] {
		t.Errorf("after reopening: %v %v %v", c, ok, err)
	}
	if c, ok, err := l.s.Sent(t.Context(), "never"); ok || err != nil || c.Defined() {
		t.Errorf("unknown key: %v %v %v", c, ok, err)
	}
	if c := l.send("a/b c"); c != got[0] || l.m.calls["MpoolPushMessage"] != 2 {
		t.Errorf("after reopening: %v", c)
	}
}

func TestSendRefuses(t *testing.T) {
	l := newLab(t, Config{})
	nonced := l.message("n")
	nonced.Nonce = 3
	for name, call := range map[string]func() error{
		"empty key":  func() error { _, err := l.s.Send(t.Context(), "", l.message("x")); return err },
		"no message": func() error { _, err := l.s.Send(t.Context(), "k", nil); return err },
		"nonce":      func() error { _, err := l.s.Send(t.Context(), "n", nonced); return err },
	} {
		var invalid *api.ErrInvalid
		if err := call(); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if n := l.m.calls["MpoolPushMessage"]; n != 0 {
		t.Errorf("%d pushes", n)
	}
}

func TestSendKeepsCIDThoughCallerGaveUp(t *testing.T) {
	l := newLab(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	l.m.pushFault = func(*api.Message) (error, error) { cancel(); return nil, nil }
	c, err := l.s.Send(ctx, "k", l.message("k"))
	if err != nil {
		t.Fatal(err)
	}
	l.restart(Config{})
	if got, ok, _ := l.s.Sent(t.Context(), "k"); !ok || got != c {
		t.Error("the CID was lost with the caller's context")
	}
}

// The answer to a push is lost, and with it perhaps the node: the message is
// found by its id, in the pool, in the head, or deep in the chain, and is never
// made twice. One that makes the same call for another key is left to that key.
func TestLostAnswerIsFoundAgain(t *testing.T) {
	lost := &api.ErrUnreachable{Peer: "the full node", Reason: "connection reset"}
	for name, c := range map[string]struct {
		after  func(l *lab)
		pushes int
	}{
		"by its id":         {func(l *lab) { l.m.losePool(func() bool { return true }) }, 2},
		"in the pool":       {func(l *lab) { l.m.forgetUUIDs() }, 1},
		"in the head":       {func(l *lab) { l.m.forgetUUIDs(); l.m.mine(nil) }, 1},
		"below the head":    {func(l *lab) { l.m.forgetUUIDs(); l.m.mine(nil); l.m.mine(nil) }, 1},
		"deep in the chain": {func(l *lab) { l.m.forgetUUIDs(); l.idle(7); l.m.mine(nil); l.idle(40) }, 1},
		"among others": {func(l *lab) {
			l.m.forgetUUIDs()
			for range 9 {
				l.m.foreign(l.from, false)
				l.m.mine(nil)
			}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.idle(3)
			twin, err := l.s.Send(t.Context(), "twin", l.message("same"))
			if err != nil {
				t.Fatal(err)
			}
			l.m.pushFault = func(*api.Message) (error, error) { return nil, lost }
			if _, err := l.s.Send(t.Context(), "k", l.message("same")); !api.IsTemporary(err) {
				t.Fatalf("%v", err)
			}
			l.m.pushFault = nil
			if _, ok, _ := l.s.Sent(t.Context(), "k"); ok {
				t.Error("known as sent although the answer never came")
			}
			made := l.m.calls["MpoolPushMessage"]
			c.after(l)
			l.restart(Config{})
			got, err := l.s.Send(t.Context(), "k", l.message("same"))
			if err != nil || got == twin || l.m.known[got].Message.Nonce != 1 {
				t.Fatalf("%v, %v; nonce %d", got, err, l.m.known[got].Message.Nonce)
			}
			if n := l.m.calls["MpoolPushMessage"] - made; n != c.pushes-1 {
				t.Errorf("%d more pushes, want %d", n, c.pushes-1)
			}
			r := l.record("k")
			if r.open() || len(r.Made) != 1 {
				t.Fatalf("record %+v", r)
			}
			if sm, err := api.DecodeSignedMessage(r.Made[0].Signed); err != nil || sm.Cid() != got || len(sm.Signature.Data) == 0 {
				t.Errorf("kept %+v, %v", sm, err)
			}
		})
	}
}

func (l *lab) idle(n int) {
	for range n {
		l.m.mine(func(*api.SignedMessage) bool { return true })
	}
}

// A sender without funds and a message that fails its trial are told apart from
// a node that is away; neither leaves a push open, and the next try is a new one.
func TestRefusalsOfTheNode(t *testing.T) {
	for name, c := range map[string]struct {
		err             string
		refused, comes  bool
		text            string
		stays, notFresh bool
	}{
		"gas":     {err: "mpool push: not enough funds: 1 < 2", comes: true, text: "send FIL to it, or lower Fees.X"},
		"pool":    {err: "not enough funds to execute transaction: balance 1", comes: true, text: "f0100"},
		"value":   {err: "message execution failed (exit=[SysErrInsufficientFunds(6)])", comes: true, text: "has not the funds"},
		"trial":   {err: "message execution failed (exit=[16])", refused: true, text: `push message "k" (method 5 of f01000)`},
		"unknown": {err: "something else", stays: true, text: "something else"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Config{Limit: "Fees.X"})
			l.m.pushFault = func(*api.Message) (error, error) { return errors.New(c.err), nil }
			_, err := l.s.Send(t.Context(), "k", l.message("k"))
			if errors.Is(err, ErrRefused) != c.refused || api.IsTemporary(err) != c.comes || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
			if r := l.record("k"); r.open() != c.stays || len(r.Made) != 0 {
				t.Errorf("record %+v", r)
			}
			l.m.pushFault = nil
			pending := l.m.calls["MpoolPending"]
			l.send("k")
			if looked := l.m.calls["MpoolPending"] > pending; looked != c.stays {
				t.Errorf("the pool was searched: %v", looked)
			}
		})
	}
	l := newLab(t, Config{BatchLimit: "Fees.Y"})
	l.m.pushFault = func(*api.Message) (error, error) { return errors.New("not enough funds"), nil }
	if _, err := l.s.Batch(2).Send(t.Context(), "k", l.message("k")); !strings.Contains(err.Error(), "Fees.Y") {
		t.Errorf("%v", err)
	}
	if _, err := l.s.Send(t.Context(), "l", l.message("l")); !strings.Contains(err.Error(), "lower the fee limit") {
		t.Errorf("%v", err)
	}
}

// silent answers a push with nothing.
type silent struct{ *model }

func (silent) MpoolPushMessage(context.Context, *api.Message, *api.MessageSendSpec) (*api.SignedMessage, error) {
	return nil, nil
}

func TestSilentNode(t *testing.T) {
	l := newLab(t, Config{})
	l.s.deps.Chain = silent{l.m}
	if _, err := l.s.Send(t.Context(), "k", l.message("k")); !api.IsTemporary(err) {
		t.Errorf("%v", err)
	}
}

// Until a message is acknowledged the caller's latest word counts; afterwards
// the first one does.
func TestLatestWordBeforeTheAnswer(t *testing.T) {
	l := newLab(t, Config{})
	l.m.pushFault = func(*api.Message) (error, error) { return errors.New("down"), nil }
	if _, err := l.s.Send(t.Context(), "k", l.message("old")); err == nil {
		t.Fatal("no error")
	}
	l.m.pushFault = nil
	c, err := l.s.Batch(4).Send(t.Context(), "k", l.message("new"))
	if err != nil || string(l.m.known[c].Message.Params) != "new" {
		t.Fatalf("%v, %v", c, err)
	}
	if r := l.record("k"); r.Sectors != 4 || string(r.Want.Params) != "new" {
		t.Errorf("%+v", r)
	}
	if again, err := l.s.Send(t.Context(), "k", l.message("third")); err != nil || again != c {
		t.Errorf("%v, %v", again, err)
	}
}

// A node that made a message with other parameters for the id is believed.
func TestOtherMessageUnderTheID(t *testing.T) {
	l := newLab(t, Config{})
	lost := &api.ErrUnreachable{Peer: "node", Reason: "gone"}
	l.m.pushFault = func(*api.Message) (error, error) { return nil, lost }
	if _, err := l.s.Send(t.Context(), "k", l.message("first")); err == nil {
		t.Fatal("no error")
	}
	l.m.pushFault = nil
	c, err := l.s.Send(t.Context(), "k", l.message("second"))
	if err != nil || string(l.m.known[c].Message.Params) != "first" {
		t.Fatalf("%v, %v", c, err)
	}
	if !strings.Contains(l.log.String(), "a different message for this key") {
		t.Error("nothing was said")
	}
}

func TestParams(t *testing.T) {
	n := cbg.CborInt(7)
	if b, err := Params(&n); err != nil || string(b) != "\x07" {
		t.Errorf("%x, %v", b, err)
	}
	if _, err := Params(unencodable{}); err == nil || !strings.Contains(err.Error(), "msgs.unencodable") {
		t.Errorf("%v", err)
	}
}

type unencodable struct{ cbg.CBORMarshaler }

func (unencodable) MarshalCBOR(io.Writer) error {
	return errors.New("no")
}
