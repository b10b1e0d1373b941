package msgs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"go.uber.org/goleak"

	"quarry/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pool is a mempool that remembers ids, as Lotus does.
type pool struct {
	mu     sync.Mutex
	byUUID map[api.UUID]*api.SignedMessage
	nonce  uint64
	pushes []api.UUID
	again  int   // MpoolPush calls
	after  error // returned after the message was taken
	before error // returned before
	wait   func(n int, c cid.Cid) (*api.MsgLookup, error)
	waits  int
}

func (p *pool) MpoolPushMessage(_ context.Context, m *api.Message, spec *api.MessageSendSpec) (*api.SignedMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes = append(p.pushes, spec.MsgUuid)
	if p.before != nil {
		return nil, p.before
	}
	if p.byUUID == nil {
		p.byUUID = map[api.UUID]*api.SignedMessage{}
	}
	sm := p.byUUID[spec.MsgUuid]
	if sm == nil {
		sm = &api.SignedMessage{Message: *m, Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{1}}}
		sm.Message.Nonce = p.nonce
		p.nonce++
		p.byUUID[spec.MsgUuid] = sm
	}
	if p.after != nil {
		return nil, p.after
	}
	return sm, nil
}

func (p *pool) MpoolPush(_ context.Context, m *api.SignedMessage) (cid.Cid, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.again++
	return m.Cid(), nil
}

func (p *pool) StateSearchMsg(context.Context, api.TipSetKey, cid.Cid, abi.ChainEpoch, bool) (*api.MsgLookup, error) {
	return nil, nil
}

func (p *pool) StateWaitMsg(_ context.Context, c cid.Cid, conf uint64, lookback abi.ChainEpoch, replaced bool) (*api.MsgLookup, error) {
	p.mu.Lock()
	p.waits++
	n := p.waits
	p.mu.Unlock()
	if conf != 5 || lookback != -1 || !replaced {
		return nil, errors.New("message was replaced: wrong question asked")
	}
	return p.wait(n, c)
}

func message(t *testing.T) *api.Message {
	t.Helper()
	to, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	from, err := address.NewIDAddress(100)
	if err != nil {
		t.Fatal(err)
	}
	return &api.Message{To: to, From: from, Method: 5, Params: []byte{0x80}}
}

func store() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

func TestSendIsKeyed(t *testing.T) {
	p, ds := &pool{}, store()
	s := New(Config{MaxFee: big.NewInt(7)}, Deps{Chain: p, Store: ds})
	var wg sync.WaitGroup
	got := make([]cid.Cid, 8)
	for i := range got {
		wg.Go(func() {
			c, err := s.Send(t.Context(), "a/b c", message(t))
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
	if p.nonce != 1 || len(p.pushes) != 1 {
		t.Errorf("%d messages, %d pushes; want one of each", p.nonce, len(p.pushes))
	}
	other, err := s.Send(t.Context(), "a/b d", message(t))
	if err != nil || other == got[0] {
		t.Errorf("second key: %v, %v", other, err)
	}
	again := New(Config{}, Deps{Chain: p, Store: ds})
	if c, ok, err := again.Sent(t.Context(), "a/b c"); !ok || err != nil || c != got[0] {
		t.Errorf("after reopening: %v %v %v", c, ok, err)
	}
	if c, err := again.Send(t.Context(), "a/b c", message(t)); err != nil || c != got[0] || len(p.pushes) != 2 {
		t.Errorf("after reopening: %v %v", c, err)
	}
}

// The process dies at each step between the intent and the note of the CID.
func TestSendSurvivesCrashes(t *testing.T) {
	for name, crash := range map[string]func(*pool){
		"before the push": func(p *pool) { p.before = errors.New("dial: refused") },
		"after the push":  func(p *pool) { p.after = errors.New("connection reset") },
	} {
		t.Run(name, func(t *testing.T) {
			p, ds := &pool{}, store()
			crash(p)
			if _, err := New(Config{}, Deps{Chain: p, Store: ds}).Send(t.Context(), "k", message(t)); err == nil {
				t.Fatal("the crash went unnoticed")
			}
			p.before, p.after = nil, nil
			s := New(Config{}, Deps{Chain: p, Store: ds})
			if _, ok, _ := s.Sent(t.Context(), "k"); ok {
				t.Error("known as sent although the answer never came")
			}
			c, err := s.Send(t.Context(), "k", message(t))
			if err != nil {
				t.Fatal(err)
			}
			if len(p.pushes) != 2 || p.pushes[0] != p.pushes[1] || p.nonce != 1 {
				t.Errorf("ids %v, %d messages made; want one id and one message", p.pushes, p.nonce)
			}
			if c2, err := s.Send(t.Context(), "k", message(t)); err != nil || c2 != c || len(p.pushes) != 2 {
				t.Errorf("sent again: %v %v", c2, err)
			}
		})
	}
}

func TestSendKeepsCIDThoughCallerGaveUp(t *testing.T) {
	p, ds := &pool{}, store()
	ctx, cancel := context.WithCancel(t.Context())
	s := New(Config{}, Deps{Chain: cancelling{p, cancel}, Store: ds})
	c, err := s.Send(ctx, "k", message(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok, _ := New(Config{}, Deps{Chain: p, Store: ds}).Sent(t.Context(), "k"); !ok || got != c {
		t.Error("the CID was lost with the caller's context")
	}
}

// cancelling ends the caller's context while the push succeeds.
type cancelling struct {
	*pool
	cancel func()
}

func (c cancelling) MpoolPushMessage(ctx context.Context, m *api.Message, s *api.MessageSendSpec) (*api.SignedMessage, error) {
	c.cancel()
	return c.pool.MpoolPushMessage(ctx, m, s)
}

func TestSendRefuses(t *testing.T) {
	s := New(Config{}, Deps{Chain: &pool{}, Store: store()})
	nonced := message(t)
	nonced.Nonce = 3
	for name, call := range map[string]func() error{
		"empty key":  func() error { _, err := s.Send(t.Context(), "", message(t)); return err },
		"no message": func() error { _, err := s.Send(t.Context(), "k", nil); return err },
		"nonce":      func() error { _, err := s.Send(t.Context(), "n", nonced); return err },
	} {
		var invalid *api.ErrInvalid
		if err := call(); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func TestForget(t *testing.T) {
	p, ds := &pool{}, store()
	s := New(Config{}, Deps{Chain: p, Store: ds})
	first, err := s.Send(t.Context(), "k", message(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Forget(t.Context(), "k"), s.Forget(t.Context(), "never used")); err != nil {
		t.Fatal(err)
	}
	second, err := s.Send(t.Context(), "k", message(t))
	if err != nil || second == first {
		t.Errorf("after forgetting: %v, %v", second, err)
	}
}

func TestDamagedRecordIsAnError(t *testing.T) {
	ds := store()
	if err := ds.Put(t.Context(), keyOf("k"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	p := &pool{}
	s := New(Config{}, Deps{Chain: p, Store: ds})
	if _, err := s.Send(t.Context(), "k", message(t)); err == nil || len(p.pushes) != 0 {
		t.Errorf("a damaged record let %d pushes through (%v)", len(p.pushes), err)
	}
	if err := s.Forget(t.Context(), "k"); err != nil {
		t.Errorf("forget a damaged record: %v", err)
	}
	if _, err := s.Send(t.Context(), "k", message(t)); err != nil {
		t.Error(err)
	}
}

func TestWait(t *testing.T) {
	found := func(c cid.Cid, code exitcode.ExitCode) *api.MsgLookup {
		return &api.MsgLookup{Message: c, Receipt: api.MessageReceipt{ExitCode: code}, Height: 9}
	}
	synctest.Test(t, func(t *testing.T) {
		p := &pool{}
		s := New(Config{Confidence: 5}, Deps{Chain: p, Store: store()})
		c, err := s.Send(t.Context(), "k", message(t))
		if err != nil {
			t.Fatal(err)
		}
		// Two lost connections, a silent answer, then an exit code.
		p.wait = func(n int, c cid.Cid) (*api.MsgLookup, error) {
			switch n {
			case 1, 2:
				return nil, errors.New("websocket connection closed")
			case 3:
				return nil, nil
			}
			return found(c, 16), nil
		}
		l, err := s.Wait(t.Context(), c)
		if err != nil || l.Receipt.ExitCode != 16 || p.again != 3 {
			t.Errorf("Wait = %+v, %v after %d pushes again", l, err, p.again)
		}
		p.wait = func(int, cid.Cid) (*api.MsgLookup, error) {
			return nil, errors.New("message was replaced: found message with equal nonce as the one we are looking for that is NOT a valid replacement message")
		}
		if _, err := s.Wait(t.Context(), c); !errors.Is(err, ErrReplaced) || !strings.Contains(err.Error(), c.String()) {
			t.Errorf("replacement: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		p.wait = func(int, cid.Cid) (*api.MsgLookup, error) { cancel(); return nil, errors.New("down") }
		if _, err := s.Wait(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}
