package prove

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/post"
)

// altered is a copy of the sector with some of its files changed.
func altered(t *testing.T, change func(s *poreptest.Sealed)) *poreptest.Sealed {
	t.Helper()
	s := *sealed()
	s.Sealed = &poreptest.File{Bytes: slices.Clone(s.Sealed.Bytes)}
	s.Cache = poreptest.NewFiles()
	names, err := sealed().Cache.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b := sealed().Cache.File(n).Bytes
		f, err := s.Cache.Create(n, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	change(&s)
	return &s
}

const treeR = "sc-02-data-tree-r-last.dat"

func remove(name string) func(*poreptest.Sealed) {
	return func(s *poreptest.Sealed) { _ = s.Cache.Remove(name) }
}

// damaged has a leaf changed in every place that a challenge may fall on.
func damaged(s *poreptest.Sealed) {
	for i := range s.Sealed.Bytes {
		s.Sealed.Bytes[i] = 1
	}
}

func shorter(s *poreptest.Sealed) { s.Sealed.Bytes = s.Sealed.Bytes[:2000] }

// What can be wrong with a sector, and whose fault it is said to be: that of its
// files, which is certain, or that of the path, which may pass.
func TestReasons(t *testing.T) {
	on := func(s *poreptest.Sealed) func(*disks) { return func(d *disks) { d.put("/mnt/a", 1, asSealed, s) } }
	errs := func(err error) func(*disks) {
		return func(d *disks) {
			d.put("/mnt/a", 1, asSealed, sealed())
			d.fails["/mnt/a"] = err
		}
	}
	for name, c := range map[string]struct {
		lay          func(*disks)
		reason       api.FaultReason
		path, detail string
	}{
		"nowhere": {func(*disks) {}, api.FaultMissing, "", "no path has both"},
		"declared but gone": {func(d *disks) { d.declare("/mnt/a", 1, api.FileSealed); d.declare("/mnt/a", 1, api.FileCache) },
			api.FaultMissing, "a", "does not exist"},
		"no cache": {func(d *disks) {
			d.lay("/mnt/a", 1, api.FileSealed, sealed())
			d.declare("/mnt/a", 1,
				api.FileSealed)
		}, api.FaultMissing, "", "no path has both"},
		"no p_aux": {on(altered(t, remove("p_aux"))), api.FaultMissing, "a", "p_aux"},
		"no tree":  {on(altered(t, remove(treeR))), api.FaultMissing, "a", treeR},
		"short tree": {on(altered(t, func(s *poreptest.Sealed) { f := s.Cache.File(treeR); f.Bytes = f.Bytes[:31] })),
			api.FaultDamaged, "a", treeR},
		"short replica":         {on(altered(t, shorter)), api.FaultDamaged, "a", "2000 bytes instead of 2048"},
		"damaged replica":       {on(altered(t, damaged)), api.FaultDamaged, "a", "sector 1"},
		"files of another seal": {on(other()), api.FaultOtherSeal, "a", "another seal"},
		"i/o error":             {errs(&fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}), api.FaultUnreadable, "a", "input/output"},
		"no permission":         {errs(syscall.EACCES), api.FaultUnreadable, "a", "permission"},
		"unnamed failure": {func(d *disks) {
			d.put("/mnt/a", 1, asSealed, sealed())
			d.put("/mnt/a", 1, asUpdated, sealed())
			d.caches = nil
		}, api.FaultMissing, "a", "p_aux"},
		"not mounted": {func(d *disks) { d.put("/mnt/a", 1, asSealed, sealed()); d.gone["/mnt/a"] = true }, api.FaultAway, "a",
			"mounted"},
		"not opened yet": {func(d *disks) { d.unopened = []string{"/mnt/late"} }, api.FaultAway, "", "/mnt/late"},
		"host away": {func(d *disks) {
			d.put("http://far", 1, asSealed, sealed())
			d.fails["http://far"] = &api.ErrUnreachable{Peer: "far"}
		}, api.FaultAway, "far", "far"},
		"token refused": {func(d *disks) {
			d.put("http://far", 1, asSealed, sealed())
			d.fails["http://far"] = &api.ErrPermission{Method: "x"}
		}, api.FaultAway, "far", "permission"},
		"host has it not": {func(d *disks) {
			d.put("http://far", 1, asSealed, sealed())
			d.fails["http://far"] = &api.ErrNotFound{What: "it"}
		}, api.FaultMissing, "far", "it"},
		"host breaks off": {func(d *disks) {
			d.put("http://far", 1, asSealed, sealed())
			d.fails["http://far"] = errors.New("reset")
		}, api.FaultUnreadable, "far", "reset"},
		"index away": {func(d *disks) { d.silent = errors.New("starting") }, api.FaultAway, "", "starting"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisks("/mnt/a", "http://far")
			c.lay(d)
			p := newProver(t, d, 4)
			want(t, faultOf(t, p), c.reason, c.path, c.detail)
			if st, err := p.ProverState(t.Context()); err == nil && st.Readable != 0 {
				t.Errorf("%d sectors count as readable", st.Readable)
			}
			res, err := p.CheckProvable(t.Context(), api.ProvableRequest{Miner: miner, Sectors: []api.ProvableSector{provable(1, false)}})
			if err != nil || len(res.Faults) != 1 || len(res.Prints) != 0 {
				t.Fatalf("check: %+v, %v", res, err)
			}
			want(t, res.Faults[0], c.reason, c.path, c.detail)
		})
	}
}

// A failure in the middle of reading is the path's, whatever the proofs call it.
func TestAReadErrorIsNotDamage(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want api.FaultReason
	}{
		"of the system": {syscall.EIO, api.FaultUnreadable},
		"of some other": {errors.New("stalled"), api.FaultUnreadable},
		"of the host":   {&api.ErrUnreachable{Peer: "far"}, api.FaultAway},
		"end of file":   {io.ErrUnexpectedEOF, api.FaultUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisks("/mnt/a")
			d.put("/mnt/a", 1, asSealed, sealed())
			name := "/mnt/a/" + fileKey(id(1), api.FileSealed)
			d.replicas[name] = failing{d.replicas[name], c.err}
			want(t, faultOf(t, newProver(t, d, 4)), c.want, "a", c.err.Error())
		})
	}
}

type failing struct {
	porep.File
	err error
}

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// A second copy stands in for one that cannot be read, wherever it lies, and a
// copy that only may be sound makes no fault certain.
func TestCopiesStandInForEachOther(t *testing.T) {
	bad := altered(t, damaged)
	for name, c := range map[string]struct {
		lay  func(*disks)
		want api.FaultReason // empty: proven
		path string
	}{
		"damaged, whole": {func(d *disks) { d.put("/mnt/a", 1, asSealed, bad); d.put("/mnt/b", 1, asSealed, sealed()) }, "", ""},
		"failing path, whole": {func(d *disks) {
			d.put("/mnt/a", 1, asSealed, sealed())
			d.put("/mnt/b", 1, asSealed, sealed())
			d.fails["/mnt/a"] = syscall.EIO
		}, "", ""},
		"whole at a host": {func(d *disks) { d.put("/mnt/a", 1, asSealed, bad); d.put("http://far", 1, asSealed, sealed()) }, "", ""},
		"damaged, host away": {func(d *disks) {
			d.put("/mnt/a", 1, asSealed, bad)
			d.put("http://far", 1, asSealed, sealed())
			d.fails["http://far"] = &api.ErrUnreachable{}
		}, api.FaultAway, "far"},
		"host away, damaged": {func(d *disks) {
			d.put("http://far", 1, asSealed, sealed())
			d.put("/mnt/a", 1, asSealed, bad)
			d.fails["http://far"] = &api.ErrUnreachable{}
		}, api.FaultAway, "far"},
		"damaged twice": {func(d *disks) { d.put("/mnt/a", 1, asSealed, bad); d.put("/mnt/b", 1, asSealed, bad) }, api.FaultDamaged, "a"},
		"moved, not declared": {func(d *disks) {
			d.declare("/mnt/a", 1, api.FileSealed)
			d.declare("/mnt/a", 1, api.FileCache)
			d.lay("/mnt/b", 1, api.FileSealed, sealed())
			d.lay("/mnt/b", 1, api.FileCache, sealed())
		}, "", ""},
		"never declared": {func(d *disks) {
			d.lay("/mnt/b", 1, api.FileSealed, sealed())
			d.lay("/mnt/b", 1, api.FileCache, sealed())
		}, "", ""},
		"elsewhere, a path fails": {func(d *disks) {
			d.declare("/mnt/a", 1, api.FileSealed)
			d.declare("/mnt/a", 1, api.FileCache)
			d.fails["/mnt/b"] = syscall.EIO
		}, api.FaultUnreadable, "b"},
		"elsewhere, not mounted": {func(d *disks) { d.gone["/mnt/b"] = true }, api.FaultAway, "b"},
		"replica and cache apart": {func(d *disks) {
			d.lay("/mnt/a", 1, api.FileSealed, sealed())
			d.declare("/mnt/a", 1, api.FileSealed)
			d.lay("/mnt/b", 1, api.FileCache, sealed())
			d.declare("/mnt/b", 1, api.FileCache)
		}, "", ""},
		"updated, as the chain has": {func(d *disks) {
			d.put("/mnt/a", 1, asSealed, other())
			d.put("/mnt/a", 1, asUpdated,
				sealed())
		}, "", ""},
		"updated, not yet on chain": {func(d *disks) {
			d.put("/mnt/a", 1, asSealed, sealed())
			d.put("/mnt/a", 1, asUpdated,
				other())
		}, "", ""},
		"updated one is damaged": {func(d *disks) { d.put("/mnt/a", 1, asSealed, other()); d.put("/mnt/a", 1, asUpdated, bad) },
			api.FaultDamaged, "a"},
		"updated one not declared": {func(d *disks) {
			d.put("/mnt/a", 1, asSealed, other())
			d.lay("/mnt/b", 1, api.FileUpdate, sealed())
			d.lay("/mnt/b", 1, api.FileUpdateCache, sealed())
		}, "", ""},
		"neither is what chain has": {func(d *disks) { d.put("/mnt/a", 1, asSealed, other()); d.put("/mnt/a", 1, asUpdated, other()) },
			api.FaultOtherSeal, "a"},
		"of another, and of nothing": {func(d *disks) {
			d.put("/mnt/a", 1, asUpdated, other())
			d.declare("/mnt/b", 1, api.FileSealed)
			d.declare("/mnt/b", 1, api.FileCache)
		}, api.FaultOtherSeal, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisks("/mnt/a", "/mnt/b", "http://far")
			c.lay(d)
			p := newProver(t, d, 4)
			if c.want != "" {
				want(t, faultOf(t, p), c.want, c.path, "")
				return
			}
			res, _ := window(t, p, api.WindowPoStRequest{Sectors: infos(1, 2)})
			if len(res.Skipped) != 0 {
				t.Fatalf("skipped %+v", res.Skipped)
			}
			verify(t, infos(1, 2), res.Vanilla)
			blob, err := p.ProveWinning(t.Context(), api.WinningPoStRequest{Miner: miner, Randomness: draw,
				Sectors: []proof.ExtendedSectorInfo{{SealProof: seal, SectorNumber: 1, SealedCID: sealed().Info().SealedCID}}})
			if err != nil {
				t.Fatal(err)
			}
			ok, err := post.VerifyWinning(t.Context(), proof.WinningPoStVerifyInfo{Randomness: draw, Prover: miner,
				ChallengedSectors: infos(1, 2)}, blob)
			if err != nil || !ok {
				t.Errorf("the winning proof does not hold (%v)", err)
			}
			if st, err := p.ProverState(t.Context()); err != nil || st.Readable != 1 || len(st.Paths) != 3 || st.Hung != nil {
				t.Errorf("state %+v, %v", st, err)
			}
		})
	}
}

// A path in trouble is not looked at for the sectors of another.
func TestOtherPathsAreLeftAlone(t *testing.T) {
	d := newDisks("/mnt/a", "/mnt/b")
	d.put("/mnt/a", 1, asSealed, sealed())
	d.hangs["/mnt/b"] = make(chan struct{}) // for ever: a touch of it would never end
	p := newProver(t, d, 1)
	if res, _ := window(t, p, api.WindowPoStRequest{Sectors: infos(1, 2)}); len(res.Skipped) != 0 {
		t.Error(res.Skipped)
	}
}
