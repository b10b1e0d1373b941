package prove

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/post"
)

// The thorough check wants t_aux too and gives a print, which changes with the
// place, the time and the length of any file, and with nothing else.
func TestPrints(t *testing.T) {
	print := func(d *disks) string {
		t.Helper()
		p := newProver(t, d, 4)
		res, err := p.CheckProvable(t.Context(), api.ProvableRequest{Miner: miner, Sectors: []api.ProvableSector{provable(1, true),
			provable(2, false)}})
		if err != nil || len(res.Prints) != 1 || len(res.Faults) != 1 || res.Faults[0].Sector != 2 {
			t.Fatalf("%+v, %v", res, err)
		}
		return res.Prints[1]
	}
	fresh := func(change func(*disks)) string {
		d := newDisks("/mnt/a", "/mnt/b", "http://far")
		change(d)
		return print(d)
	}
	asEver := fresh(func(d *disks) { d.put("/mnt/a", 1, asSealed, sealed()) })
	if len(asEver) != 32 || fresh(func(d *disks) { d.put("/mnt/a", 1, asSealed, sealed()) }) != asEver {
		t.Errorf("print %q changes by itself", asEver)
	}
	seen := map[string]string{asEver: "as ever"}
	longer := func(s *poreptest.Sealed) { _, _ = s.Cache.Create("note", 3) }
	for name, change := range map[string]func(*disks){
		"another path": func(d *disks) { d.put("/mnt/b", 1, asSealed, sealed()) },
		"a host":       func(d *disks) { d.put("http://far", 1, asSealed, sealed()) },
		"replica replaced": func(d *disks) {
			d.put("/mnt/a", 1, asSealed, sealed())
			d.touched["/mnt/a/"+fileKey(id(1), api.FileSealed)] = stamp
		},
		"cache replaced": func(d *disks) {
			d.put("/mnt/a", 1, asSealed, sealed())
			d.touched["/mnt/a/"+fileKey(id(1), api.FileCache)] = stamp
		},
		"one file more": func(d *disks) { d.put("/mnt/a", 1, asSealed, altered(t, longer)) },
	} {
		got := fresh(change)
		if was, dup := seen[got]; dup {
			t.Errorf("%s: the print is that of %s", name, was)
		}
		seen[got] = name
	}
	for name, change := range map[string]func(*poreptest.Sealed){
		"no t_aux":      remove("t_aux"),
		"damaged t_aux": func(s *poreptest.Sealed) { s.Cache.File("t_aux").Bytes[0]++ },
	} {
		d := newDisks("/mnt/a")
		d.put("/mnt/a", 1, asSealed, altered(t, change))
		p := newProver(t, d, 4)
		res, err := p.CheckProvable(t.Context(), api.ProvableRequest{Miner: miner, Sectors: []api.ProvableSector{provable(1, true)}})
		if err != nil || len(res.Faults) != 1 || len(res.Prints) != 0 {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		res, err = p.CheckProvable(t.Context(), api.ProvableRequest{Miner: miner, Sectors: []api.ProvableSector{provable(1, false)}})
		if err != nil || len(res.Faults) != 0 {
			t.Errorf("%s, not thorough: %+v, %v", name, res, err)
		}
	}
}

func TestWhatIsAskedMustMakeSense(t *testing.T) {
	d := newDisks("/mnt/a")
	d.put("/mnt/a", 1, asSealed, sealed())
	p := newProver(t, d, 4)
	ask := func(list ...proof.SectorInfo) error {
		_, err := p.ProveWindow(t.Context(), api.WindowPoStRequest{Miner: miner, Randomness: draw, Sectors: list})
		return err
	}
	twice := infoOf(1)
	twice.SealedCID = other().Info().SealedCID
	large := infoOf(2)
	large.SealProof = abi.RegisteredSealProof_StackedDrg8MiBV1_1
	if err := ask(); !errors.Is(err, post.ErrNoSectors) {
		t.Errorf("nothing: %v", err)
	}
	if err := ask(infoOf(1), twice); !errors.Is(err, post.ErrTwice) {
		t.Errorf("one sector, two seals: %v", err)
	}
	if err := ask(infoOf(1), large); !errors.Is(err, post.ErrSizes) {
		t.Errorf("two sizes: %v", err)
	}
	if err := ask(infoOf(1), infoOf(1)); err != nil {
		t.Errorf("the same twice: %v", err)
	}
	odd := infoOf(1)
	odd.SealProof = -1
	if err := ask(odd); err == nil {
		t.Error("a seal proof that does not exist was taken")
	}
	if _, err := p.ProveWinning(t.Context(), api.WinningPoStRequest{Miner: miner, Randomness: draw}); err == nil ||
		!strings.Contains(err.Error(), "one sector, not 0") {
		t.Errorf("winning proof of nothing: %v", err)
	}
	_, err := p.ProveWinning(t.Context(), api.WinningPoStRequest{Miner: miner, Randomness: draw,
		Sectors: []proof.ExtendedSectorInfo{{SealProof: seal, SectorNumber: 2, SealedCID: infoOf(2).SealedCID}}})
	if err == nil || !strings.Contains(err.Error(), "s-t01000-2") {
		t.Errorf("winning proof of a sector that is not there: %v", err)
	}
	var invalid *api.ErrInvalid
	_, err = p.CheckProvable(t.Context(), api.ProvableRequest{Miner: miner, Sectors: []api.ProvableSector{{Number: 1, SealProof: seal}}})
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "sector 1") {
		t.Errorf("a check without CommR: %v", err)
	}
	for name, deps := range map[string]Deps{"no index": {Local: d}, "no paths": {Index: d}} {
		if _, err := New(Config{}, deps); err == nil {
			t.Errorf("%s: a prover was made", name)
		}
	}
	plain, err := New(Config{}, Deps{Index: d, Local: d})
	if err != nil || plain.cfg.SectorLimit != limit || plain.cfg.Probe != retry {
		t.Errorf("defaults: %+v, %v", plain.cfg, err)
	}
	if p, err := New(Config{SectorLimit: 1, Probe: 1}, Deps{Index: d, Local: d,
		Breaker: breaker.New(breaker.Config{})}); err != nil || p.cfg.SectorLimit != 1 || p.cfg.Probe != 1 {
		t.Errorf("%+v, %v", p.cfg, err)
	}
	d.silent = errors.New("starting")
	if _, err := p.ProverState(t.Context()); !errors.Is(err, d.silent) {
		t.Errorf("state while the index is away: %v", err)
	}
}

func TestStateNamesWhatWasNotOpened(t *testing.T) {
	d := newDisks("/mnt/a")
	d.unopened = []string{"/mnt/late"}
	st, err := newProver(t, d, 4).ProverState(t.Context())
	if err != nil || st.Opened || !slices.Equal(st.Unopened, d.unopened) || !slices.Equal(st.Paths, []api.StorageID{"a"}) {
		t.Errorf("%+v, %v", st, err)
	}
}

// Before another copy is deleted the kept one has to have all of its files, with
// their lengths, and leaves that lead to CommR.
func TestCheckCopy(t *testing.T) {
	for name, c := range map[string]struct {
		s    *poreptest.Sealed
		seal cid.Cid
		want string // empty: whole
	}{
		"whole":                  {sealed(), sealed().Info().SealedCID, ""},
		"whole, CommR not known": {sealed(), cid.Undef, ""},
		"another seal":           {other(), sealed().Info().SealedCID, "another seal"},
		"no p_aux":               {altered(t, remove("p_aux")), cid.Undef, "p_aux"},
		"no t_aux":               {altered(t, remove("t_aux")), sealed().Info().SealedCID, "t_aux"},
		"no tree":                {altered(t, remove(treeR)), sealed().Info().SealedCID, treeR},
		"short replica":          {altered(t, shorter), sealed().Info().SealedCID, "2000 bytes"},
		"damaged":                {altered(t, damaged), sealed().Info().SealedCID, "damaged"},
		"damaged, not known":     {altered(t, damaged), cid.Undef, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisks("/mnt/a")
			d.put("/mnt/a", 1, asSealed, c.s)
			err := CheckCopy(t.Context(), d, Copy{
				Sector:    id(1),
				SealProof: seal,
				SealedCID: c.seal,
				Replica:   "/mnt/a/" + fileKey(id(1), api.FileSealed),
				Cache:     "/mnt/a/" + fileKey(id(1), api.FileCache),
			})
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "no other is deleted") ||
				!strings.Contains(err.Error(), "s-t01000-1") {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if d.open != 0 {
				t.Errorf("%d files left open", d.open)
			}
		})
	}
	err := CheckCopy(t.Context(), nil, Copy{Sector: id(1), SealProof: seal, SealedCID: sealed().Info().SealedCID,
		Replica: t.TempDir() + "/none"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a copy that is not there: %v", err)
	}
	d := newDisks("/mnt/a")
	d.put("/mnt/a", 1, asSealed, sealed())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = CheckCopy(ctx, d, Copy{
		Sector:    id(1),
		SealProof: seal,
		SealedCID: sealed().Info().SealedCID,
		Replica:   "/mnt/a/" + fileKey(id(1), api.FileSealed),
		Cache:     "/mnt/a/" + fileKey(id(1), api.FileCache),
	})
	if !errors.Is(err, context.Canceled) || strings.Contains(fmt.Sprint(err), "not whole") {
		t.Errorf("a check that was given up: %v", err)
	}
}
