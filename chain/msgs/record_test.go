package msgs

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

func TestForget(t *testing.T) {
	l := newLab(t, Config{})
	first := l.send("k")
	if err := errors.Join(l.s.Forget(t.Context(), "k"), l.s.Forget(t.Context(), "never used")); err != nil {
		t.Fatal(err)
	}
	if _, known, err := l.s.keyFor(t.Context(), first); known || err != nil {
		t.Errorf("the CID is still known: %v", err)
	}
	if second := l.send("k"); second == first {
		t.Error("the key was not forgotten")
	}
}

func TestDamagedRecordIsAnError(t *testing.T) {
	for name, raw := range map[string]string{"json": "{",
		"message": `{"Key":"k","CID":{"/":"bafy2bzacedcrszfz2fyr6ftpgrt2bg76njhj6t62zhpazvlebeuvobbwy46og"},"Signed":"AAAA"}`} {
		l := newLab(t, Config{})
		if err := l.ds.Put(t.Context(), keyOf("k"), []byte(raw)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.s.Send(t.Context(), "k", l.message("k")); err == nil || !strings.Contains(err.Error(), "damaged") ||
			l.m.calls["MpoolPushMessage"] != 0 {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := l.s.Sent(t.Context(), "k"); err == nil {
			t.Errorf("%s: Sent says nothing", name)
		}
		if err := l.s.Forget(t.Context(), "k"); err != nil {
			t.Errorf("%s: forget: %v", name, err)
		}
		l.send("k")
	}
}

// Records of the version before are read: one message, or an intent.
func TestEarlierRecords(t *testing.T) {
	l := newLab(t, Config{})
	sm := sign(&api.Message{
		To:         l.from,
		From:       l.m.key(l.from),
		Nonce:      3,
		GasLimit:   9,
		Value:      big.NewInt(1),
		GasFeeCap:  big.NewInt(5),
		GasPremium: big.NewInt(4),
		Method:     2,
		Params:     []byte("p"),
	})
	raw, err := sm.Serialize()
	if err != nil {
		t.Fatal(err)
	}
	c, id := sm.Cid(), uuid.New()
	old, err := json.Marshal(map[string]any{"Key": "k", "UUID": id, "CID": c, "Signed": raw})
	if err != nil {
		t.Fatal(err)
	}
	intent, err := json.Marshal(map[string]any{"Key": "i", "UUID": id})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.ds.Put(t.Context(), keyOf("k"), old), l.ds.Put(t.Context(), keyOf("i"), intent)); err != nil {
		t.Fatal(err)
	}
	r := l.record("k")
	want := sm.Message
	want.Nonce, want.GasLimit, want.GasFeeCap, want.GasPremium = 0, 0, big.Zero(), big.Zero()
	if r.open() || len(r.Made) != 1 || r.Made[0].CID != c || string(r.Made[0].Signed) != string(raw) || r.CID != nil ||
		r.Signed != nil || !reflect.DeepEqual(*r.Want, want) {
		t.Errorf("%+v", r)
	}
	if got := l.send("k"); got != c || l.m.calls["MpoolPushMessage"] != 0 {
		t.Errorf("sent again: %v", got)
	}
	got := l.send("i")
	if l.m.uuids[id] == nil || l.m.uuids[id].Cid() != got || l.m.calls["MpoolPending"] != 0 {
		t.Error("the old intent did not keep its id")
	}
}

func TestLockEndsWithContext(t *testing.T) {
	l := newLab(t, Config{})
	unlock, err := l.s.lock(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.s.Send(ctx, "k", l.message("k")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := l.s.Forget(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if len(l.s.locks) != 1 {
		t.Errorf("%d locks", len(l.s.locks))
	}
	unlock()
	if len(l.s.locks) != 0 {
		t.Errorf("%d locks", len(l.s.locks))
	}
}

// torn fails reads or writes.
type torn struct {
	datastore.Batching
	get, put, sync, del error
}

func (d *torn) Get(ctx context.Context, k datastore.Key) ([]byte, error) {
	if d.get != nil {
		return nil, d.get
	}
	return d.Batching.Get(ctx, k)
}

func (d *torn) Put(ctx context.Context, k datastore.Key, v []byte) error {
	return errors.Join(d.put, d.Batching.Put(ctx, k, v))
}

func (d *torn) Sync(ctx context.Context, k datastore.Key) error {
	return errors.Join(d.sync, d.Batching.Sync(ctx, k))
}

func (d *torn) Delete(ctx context.Context, k datastore.Key) error {
	return errors.Join(d.del, d.Batching.Delete(ctx, k))
}

// Nothing is pushed that could not be written down, and no failure of the store
// passes for an answer.
func TestStoreFailures(t *testing.T) {
	bad := errors.New("input/output error")
	for name, d := range map[string]*torn{"get": {get: bad}, "put": {put: bad}, "sync": {sync: bad}} {
		l := newLab(t, Config{})
		d.Batching = l.ds
		l.s.deps.Store = d
		if _, err := l.s.Send(t.Context(), "k", l.message("k")); !errors.Is(err, bad) || l.m.calls["MpoolPushMessage"] != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := newLab(t, Config{})
	c := l.send("k")
	d := &torn{Batching: l.ds, get: bad}
	l.s.deps.Store = d
	if _, _, err := l.s.Sent(t.Context(), "k"); !errors.Is(err, bad) {
		t.Errorf("Sent: %v", err)
	}
	if _, err := l.s.Wait(t.Context(), c); !errors.Is(err, bad) {
		t.Errorf("Wait: %v", err)
	}
	d.get, d.del = nil, bad
	if err := l.s.Forget(t.Context(), "k"); !errors.Is(err, bad) {
		t.Errorf("Forget: %v", err)
	}
	d.del = nil
	d.sync = bad
	if err := l.s.Forget(t.Context(), "k"); !errors.Is(err, bad) {
		t.Errorf("Forget: %v", err)
	}
	// The push succeeded and its note did not: the caller must not hear of it.
	l = newLab(t, Config{})
	d = &torn{Batching: l.ds}
	l.s.deps.Store = d
	l.m.pushFault = func(*api.Message) (error, error) { d.put = bad; return nil, nil }
	if _, err := l.s.Send(t.Context(), "k", l.message("k")); !errors.Is(err, bad) {
		t.Errorf("Send: %v", err)
	}
}
