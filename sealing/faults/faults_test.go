package faults

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
)

var maddr, _ = address.NewIDAddress(1000)

// world is a chain of two deadlines and its clock, an epoch a second.
type world struct {
	mu      sync.Mutex
	born    time.Time
	faulty  map[abi.SectorNumber][2]uint64 // deadline, partition
	healing []uint64
	proofs  api.ProvingStatus
	fail    map[string]error
	calls   map[string]int
}

func newWorld() *world {
	return &world{born: time.Now(), faulty: map[abi.SectorNumber][2]uint64{}, fail: map[string]error{}, calls: map[string]int{}}
}

func (w *world) did(call string) error { w.calls[call]++; return w.fail[call] }

func (w *world) now() abi.ChainEpoch { return abi.ChainEpoch(1000 + time.Since(w.born)/time.Second) }

func (w *world) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	t := time.NewTimer(time.Until(w.born.Add(time.Duration(h-1000) * time.Second)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		return &api.TipSet{Height: w.now()}, nil
	}
}

func (w *world) StateMinerFaults(context.Context, address.Address, api.TipSetKey) (bitfield.BitField, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := bitfield.New()
	for n := range w.faulty {
		out.Set(uint64(n))
	}
	return out, w.did("faults")
}

func (w *world) StateMinerDeadlines(context.Context, address.Address, api.TipSetKey) ([]api.Deadline, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return make([]api.Deadline, 2), w.did("deadlines")
}

// StateMinerProvingDeadline is of a period of two deadlines of 60 epochs, from
// epoch 900 on: deadline 0 is open from 900, 1020 and so on.
func (w *world) StateMinerProvingDeadline(context.Context, address.Address, api.TipSetKey) (*dline.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return period(w.now()), w.did("period")
}

func period(now abi.ChainEpoch) *dline.Info {
	start := now - (now-900)%120
	return dline.NewInfo(start, uint64(now-start)/60, now, 2, 120, 60, 20, 70)
}

// A fault that comes while its deadline is closed was declared; one that comes
// when it is open or has just closed may have been missed.
func TestDeclared(t *testing.T) {
	for now, want := range map[abi.ChainEpoch]bool{
		900: false, 959: false, // open
		960: false, 970: false, // closed since at most ten epochs
		971: true, 1019: true,
		1020: false,
	} {
		if got := declared(0, period(now), 10); got != want {
			t.Errorf("epoch %d: declared %v", now, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld() // at epoch 1000: deadline 0 is closed, deadline 1 open
		b := w.book(t, memory())
		defer run(t, b)()
		w.change(func() { w.faulty[3], w.faulty[4] = [2]uint64{0, 1}, [2]uint64{1, 1} })
		later(10)
		if f := b.Fault(3); f.Why != whyDeclared {
			t.Errorf("%+v", f)
		}
		if f := b.Fault(4); f.Why == whyDeclared {
			t.Errorf("%+v", f)
		}
	})
}

func (w *world) StateMinerPartitions(_ context.Context, _ address.Address, d uint64, _ api.TipSetKey) ([]api.Partition, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]api.Partition, 3)
	for i := range out {
		out[i].FaultySectors, out[i].RecoveringSectors = bitfield.New(), bitfield.NewFromSet(w.healing)
		for n, at := range w.faulty {
			if at == [2]uint64{d, uint64(i)} {
				out[i].FaultySectors.Set(uint64(n))
			}
		}
	}
	return out, w.did("partitions")
}

func (w *world) status(context.Context) (api.ProvingStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.proofs, w.did("proofs")
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) book(t *testing.T, ds datastore.Batching) *Book {
	t.Helper()
	b, err := New(t.Context(), Config{Miner: maddr}, Deps{Store: ds, Chain: w, Heads: w, Proofs: w.status})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t *testing.T, b *Book) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func memory() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

// later lets some epochs pass.
func later(n int) {
	time.Sleep(time.Duration(n) * time.Second)
	synctest.Wait()
}

func numbers(b *Book) (out []abi.SectorNumber) {
	for _, f := range b.List() {
		out = append(out, f.Sector)
	}
	return out
}

// A fault is known within ten epochs, with its place, since when, and why; it
// keeps its time over a restart and goes with the fault.
func TestFaultsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ds := newWorld(), memory()
		b := w.book(t, ds)
		stop := run(t, b)
		if len(b.List()) != 0 || b.Fault(7) != nil || w.calls["partitions"] != 0 {
			t.Errorf("nothing is faulty and yet %+v, %v", b.List(), w.calls)
		}
		later(3)
		w.change(func() {
			w.faulty[9], w.faulty[7] = [2]uint64{0, 0}, [2]uint64{1, 2}
			w.healing = []uint64{9}
			w.proofs.Recent = []api.PoStRecord{{Deadline: 1, Open: 999, Skipped: []abi.SectorNumber{7}}}
		})
		later(6)
		if len(b.List()) != 0 {
			t.Error("it is not time to look yet")
		}
		later(1)
		if got := numbers(b); !slices.Equal(got, []abi.SectorNumber{7, 9}) {
			t.Fatalf("faulty are %v", got)
		}
		f := *b.Fault(7)
		if f.Deadline != 1 || f.Partition != 2 || f.Since != 1010 || f.Earlier || f.Recovering ||
			!f.Time.Equal(w.born.Add(10*time.Second)) ||
			f.Why != "its files could not be read for the window PoSt of deadline 1, epoch 999" || f.Do == "" {
			t.Errorf("sector 7: %+v", f)
		}
		if g := b.Fault(9); !g.Recovering || g.Deadline != 0 || g.Partition != 0 || g.Do == f.Do || b.Fault(8) != nil ||
			b.Fault(10) != nil {
			t.Errorf("sector 9: %+v", g)
		}
		stop()
		w.change(func() { w.proofs = api.ProvingStatus{} }) // forgotten with the process
		b = w.book(t, ds)
		defer run(t, b)()
		again := *b.Fault(7)
		if again.Since != f.Since || !again.Time.Equal(f.Time) || again.Earlier || again.Why != f.Why {
			t.Errorf("after a restart %+v", again)
		}
		w.change(func() { delete(w.faulty, 7) })
		later(10)
		if got := numbers(b); !slices.Equal(got, []abi.SectorNumber{9}) {
			t.Errorf("after the recovery %v", got)
		}
		w.change(func() { w.faulty[7] = [2]uint64{1, 2} })
		later(10)
		if f := b.Fault(7); f.Since != w.now() {
			t.Errorf("a new fault is of epoch %d, it is %d", f.Since, w.now())
		}
	})
}

// What was faulty before the first look may be so since long.
func TestFirstLookSaysOrBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.faulty[3] = [2]uint64{0, 1}
		b := w.book(t, memory())
		defer run(t, b)()
		if f := b.Fault(3); f == nil || !f.Earlier || f.Since != 1000 {
			t.Errorf("%+v", f)
		}
		w.change(func() { w.faulty[4] = [2]uint64{0, 1} })
		later(10)
		if f := b.Fault(4); f == nil || f.Earlier {
			t.Errorf("%+v", f)
		}
		if f := b.Fault(3); !f.Earlier || f.Since != 1000 {
			t.Errorf("%+v", f)
		}
	})
}

// A look that fails leaves what was known, and the next one finds the rest.
func TestFailedLookChangesNothing(t *testing.T) {
	for _, call := range []string{"faults", "deadlines", "partitions", "period"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.faulty[3] = [2]uint64{0, 1}
			b := w.book(t, memory())
			defer run(t, b)()
			w.change(func() { w.fail[call] = errors.New("node is away"); w.faulty[4] = [2]uint64{1, 0} })
			later(10)
			if got := numbers(b); !slices.Equal(got, []abi.SectorNumber{3}) || w.calls[call] < 2 {
				t.Errorf("%s: %v after %d calls", call, got, w.calls[call])
			}
			w.change(func() { delete(w.fail, call) })
			later(10)
			if got := numbers(b); !slices.Equal(got, []abi.SectorNumber{3, 4}) || b.Fault(4).Since != 1020 {
				t.Errorf("%s: %v", call, got)
			}
		})
	}
}

// Without the proofs the faults are known all the same.
func TestReasonsAreNotNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.faulty[3] = [2]uint64{0, 1}
		w.fail["proofs"] = errors.New("not running")
		b := w.book(t, memory())
		defer run(t, b)()
		if f := b.Fault(3); f == nil || f.Why == "" {
			t.Errorf("%+v", f)
		}
	})
}

func TestReason(t *testing.T) {
	f := api.ChainFault{Sector: 3, Deadline: 5}
	for want, recent := range map[string][]api.PoStRecord{
		"": {{Deadline: 4, Skipped: []abi.SectorNumber{3}}, {Deadline: 5, Accepted: true}, {Deadline: 5, Error: "older"}},
		"its files could not be read for the window PoSt of deadline 5, epoch 77": {{Deadline: 5, Open: 77,
			Skipped: []abi.SectorNumber{1, 3}, Error: "too"}},
		"the window PoSt of deadline 5, epoch 78, failed: out of gas": {{Deadline: 5, Open: 78, Error: "out of gas",
			Skipped: []abi.SectorNumber{1}}},
	} {
		if got := reason(f, api.ProvingStatus{Recent: recent}); got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	}
	known := api.ProvingStatus{
		Recent: []api.PoStRecord{{Deadline: 5, Error: "out of gas"}},
		Unreadable: []api.SectorFault{{Sector: 2, Reason: api.FaultHung},
			{Sector: 3, Reason: api.FaultMissing, Path: "/mnt/a", Detail: "no sealed file"}},
	}
	if got := reason(f, known); got != "it cannot be read: missing at /mnt/a: no sealed file" {
		t.Errorf("reason %q", got)
	}
	why, do := explain(f, "")
	if why == "" || do == "" {
		t.Error("no explanation")
	}
	f.Recovering = true
	if _, do := explain(f, "x"); do != "nothing: it was declared recovered, the next window PoSt of deadline 5 decides" {
		t.Error(do)
	}
}

// stubborn fails what it is told to.
type stubborn struct {
	datastore.Batching
	put error
	get error
	n   int
}

func (s *stubborn) Put(ctx context.Context, k datastore.Key, v []byte) error {
	s.n++
	if s.put != nil {
		return s.put
	}
	return s.Batching.Put(ctx, k, v)
}

func (s *stubborn) Get(ctx context.Context, k datastore.Key) ([]byte, error) {
	if s.get != nil {
		return nil, s.get
	}
	return s.Batching.Get(ctx, k)
}

func TestStore(t *testing.T) {
	w := newWorld()
	if _, err := New(t.Context(), Config{}, Deps{Store: memory(), Chain: w}); err == nil {
		t.Error("a book without a clock")
	}
	if _, err := New(t.Context(), Config{}, Deps{Store: &stubborn{Batching: memory(), get: errors.New("disk")}, Chain: w,
		Heads: w}); err == nil {
		t.Error("a store that cannot be read")
	}
	ds := memory()
	if err := ds.Put(t.Context(), key, []byte("{")); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.faulty[3] = [2]uint64{0, 1}
		s := &stubborn{Batching: ds}
		b := w.book(t, s) // what cannot be read is found anew
		defer run(t, b)()
		if f := b.Fault(3); f == nil || !f.Earlier || s.n != 1 {
			t.Errorf("%+v, %d writes", f, s.n)
		}
		later(50)
		if s.n != 1 {
			t.Errorf("%d writes without a change", s.n)
		}
		s.put = errors.New("disk full")
		w.change(func() { w.faulty[4] = [2]uint64{1, 0} })
		later(10)
		if b.Fault(4) != nil {
			t.Error("shown before it is written: its time would change")
		}
		s.put = nil
		later(10)
		if b.Fault(4) == nil {
			t.Error("not found again")
		}
	})
}
