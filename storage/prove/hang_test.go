package prove

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/proofs/post"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// threePaths holds 300 sectors, 100 on each.
func threePaths() *disks {
	d := newDisks("/mnt/a", "/mnt/b", "/mnt/c")
	for n := range abi.SectorNumber(300) {
		d.put(d.dirs[n/100], n, asSealed, sealed())
	}
	return d
}

func window(t *testing.T, p *Prover, r api.WindowPoStRequest) (api.WindowPoStResult, time.Duration) {
	t.Helper()
	r.Miner, r.Randomness = miner, draw
	began := time.Now()
	res, err := p.ProveWindow(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return res, time.Since(began)
}

func verify(t *testing.T, list []proof.SectorInfo, blob []byte) {
	t.Helper()
	ok, err := post.VerifyWindow(t.Context(), proof.WindowPoStVerifyInfo{Randomness: draw, Prover: miner, ChallengedSectors: list}, blob)
	if err != nil || !ok {
		t.Errorf("the proof over %d sectors does not hold (%v)", len(list), err)
	}
}

// One mount of three hangs: its hundred sectors are skipped with path and time
// after one limit in the first deadline and at once in the next; all others are
// proven in both. It heals without anybody asking, and then all are proven.
func TestAHungMountCostsItsOwnSectorsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := threePaths()
		p := newProver(t, d, 4)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		back := make(chan struct{})
		d.hangs["/mnt/b"] = back
		others := append(infos(0, 100), infos(200, 300)...)

		began := time.Now()
		for round, most := range []time.Duration{limit, 0} {
			res, took := window(t, p, api.WindowPoStRequest{Sectors: infos(0, 300)})
			if took != most {
				t.Errorf("deadline %d: reading took %s, want %s", round, took, most)
			}
			if len(res.Skipped) != 100 || res.Skipped[0].Sector != 100 || res.Skipped[99].Sector != 199 {
				t.Fatalf("deadline %d: %d sectors skipped", round, len(res.Skipped))
			}
			for _, f := range res.Skipped {
				if f.Reason != api.FaultHung || f.Path != "b" || !f.Since.Equal(began) {
					t.Fatalf("deadline %d: %+v", round, f)
				}
			}
			verify(t, others, res.Vanilla)
		}
		st, err := p.ProverState(t.Context())
		if err != nil || len(st.Hung) != 1 || st.Hung[0].Path != "/mnt/b" || !st.Hung[0].Since.Equal(began) || st.Readable != 200 ||
			!st.Opened {
			t.Errorf("state %+v, %v", st, err)
		}
		d.mu.Lock()
		delete(d.hangs, "/mnt/b")
		d.mu.Unlock()
		close(back)
		time.Sleep(retry)
		synctest.Wait()
		res, took := window(t, p, api.WindowPoStRequest{Sectors: infos(0, 300)})
		if len(res.Skipped) != 0 || took != 0 {
			t.Errorf("after it is back: %d skipped, %s", len(res.Skipped), took)
		}
		verify(t, infos(0, 300), res.Vanilla)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if d.open != 0 {
			t.Errorf("%d files left open", d.open)
		}
	})
}

// A probe finds a mount well that came back with its old calls still stuck, as
// after umount -l and a new mount.
func TestANewMountIsFoundByAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := threePaths()
		p := newProver(t, d, 4)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		old := make(chan struct{})
		d.hangs["/mnt/b"] = old
		window(t, p, api.WindowPoStRequest{Sectors: infos(100, 110)})
		d.mu.Lock()
		delete(d.hangs, "/mnt/b") // what is open stays stuck
		d.mu.Unlock()
		time.Sleep(2 * retry)
		synctest.Wait()
		if st, err := p.ProverState(t.Context()); err != nil || len(st.Hung) != 0 {
			t.Errorf("state %+v, %v", st, err)
		}
		close(old)
		cancel()
		<-ended
	})
}

// Reading ends when its time is over, with a proof of what was read.
func TestReadingEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := threePaths()
		p := newProver(t, d, 4)
		back := make(chan struct{})
		d.hangs["/mnt/b"] = back
		res, took := window(t, p, api.WindowPoStRequest{Sectors: infos(0, 300), Limit: 20 * time.Second})
		if took != 20*time.Second || len(res.Skipped) != 100 || res.Skipped[0].Reason != api.FaultSlow {
			t.Errorf("%s, %d skipped, the first %+v", took, len(res.Skipped), res.Skipped[0])
		}
		verify(t, append(infos(0, 100), infos(200, 300)...), res.Vanilla)
		close(back)
		synctest.Wait()
	})
}

// Never more files are open than the places of the paths need, however many
// sectors there are.
func TestOpenFilesAreBounded(t *testing.T) {
	d := threePaths()
	p := newProver(t, d, 2)
	if res, _ := window(t, p, api.WindowPoStRequest{Sectors: infos(0, 300)}); len(res.Skipped) != 0 {
		t.Fatal(res.Skipped)
	}
	if most := 3 * 2 * 3; d.most > most || d.open != 0 { // replica, p_aux or tree, the other
		t.Errorf("%d files open at a time, want at most %d; %d left", d.most, most, d.open)
	}
}

// The caller that gives up gets its own cause.
func TestACancelledProofIsNoProof(t *testing.T) {
	d := threePaths()
	p := newProver(t, d, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.ProveWindow(ctx, api.WindowPoStRequest{Miner: miner, Randomness: draw, Sectors: infos(0, 3)}); err == nil {
		t.Error("a proof came of a cancelled call")
	}
	if _, err := p.CheckProvable(ctx, api.ProvableRequest{Miner: miner, Sectors: []api.ProvableSector{provable(1, true)}}); err == nil {
		t.Error("a check came of a cancelled call")
	}
}

// Replica on one path, cache on another that hangs: that one is to blame.
func TestTheHungPathOfTwoIsNamed(t *testing.T) {
	for _, hung := range []string{"/mnt/a", "/mnt/b"} {
		t.Run(hung, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisks("/mnt/a", "/mnt/b")
				d.lay("/mnt/a", 1, api.FileSealed, sealed())
				d.declare("/mnt/a", 1, api.FileSealed)
				d.lay("/mnt/b", 1, api.FileCache, sealed())
				d.declare("/mnt/b", 1, api.FileCache)
				p := newProver(t, d, 4)
				if res, _ := window(t, p, api.WindowPoStRequest{Sectors: infos(1, 2)}); len(res.Skipped) != 0 {
					t.Fatalf("skipped while all is well: %v", res.Skipped)
				}
				back := make(chan struct{})
				d.hangs[hung] = back
				for range 2 {
					want(t, faultOf(t, p), api.FaultHung, string(storageID(hung)), hung)
				}
				if p.deps.Breaker.Hung("/mnt/a") != nil && p.deps.Breaker.Hung("/mnt/b") != nil {
					t.Error("the other path is blamed too")
				}
				close(back)
				synctest.Wait()
			})
		})
	}
}

// Only directories are probed: a probe of anything else would come back at once and
// say that all is well.
func TestOnlyDirectoriesAreProbed(t *testing.T) {
	p := newProver(t, newDisks("/mnt/a", "/mnt/b"), 4)
	both, apart := replica{sealed: place{key: "/mnt/a"}, cached: place{key: "/mnt/b"}}.key()
	if !apart || p.probe(both) != nil || p.probe("http://far") != nil {
		t.Errorf("%q (apart %v) or a host is probed", both, apart)
	}
	one, apart := replica{sealed: place{key: "/mnt/a"}, cached: place{key: "/mnt/a"}}.key()
	if apart || one != "/mnt/a" || p.probe(one) == nil || p.probe(one)(t.Context()) != nil {
		t.Errorf("%q (apart %v) is not probed", one, apart)
	}
}
