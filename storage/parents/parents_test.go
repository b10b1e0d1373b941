package parents

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	fslock "github.com/ipfs/go-fs-lock"

	"quarry/proofs/porep"
	"quarry/proofs/sdr"
)

const (
	small = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	large = abi.RegisteredSealProof_StackedDrg8MiBV1_1
)

func newCache(t *testing.T, dir string) *Cache {
	t.Helper()
	c := New(Config{Dir: dir, Least: 1}, Deps{})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// same compares parents with computed ones.
func same(t *testing.T, p sdr.Parents, proof abi.RegisteredSealProof) {
	t.Helper()
	if p == nil {
		t.Fatal("no parents")
	}
	g, err := porep.Graph(proof)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(0); n < g.Nodes(); n += 1 + g.Nodes()/61 {
		got, want := make([]uint32, 14), make([]uint32, 14)
		if err := errors.Join(p.ReadParents(t.Context(), n, got), g.ReadParents(t.Context(), n, want)); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("parent %d of node %d: %d instead of %d", i, n, got[i], want[i])
			}
		}
	}
}

func TestMadeOnceAndReadAgain(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		c := newCache(t, dir)
		p, err := c.For(t.Context(), small, nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, p, small)
		if again, err := c.For(t.Context(), small, nil); err != nil || again != p {
			t.Fatal("opened twice", err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 { // the file, and what the check found
		t.Fatal(left, err)
	}
}

func TestWhereNothingIsKept(t *testing.T) {
	for name, c := range map[string]*Cache{"no directory": New(Config{Least: 1}, Deps{}),
		"small sector": New(Config{Dir: t.TempDir()}, Deps{})} {
		if p, err := c.For(t.Context(), small, nil); p != nil || err != nil {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := newCache(t, file).For(t.Context(), small, nil); p != nil || err != nil {
		t.Errorf("a directory that cannot be: %v, %v", p, err)
	}
}

func TestInterruptedGoesOn(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	c := newCache(t, dir)
	p, err := c.For(ctx, large, func(_ string, done, total int64) {
		if done*3 > total {
			cancel()
		}
	})
	if p != nil || !errors.Is(err, context.Canceled) {
		t.Fatal(p, err)
	}
	if p, err = c.For(t.Context(), large, nil); err != nil {
		t.Fatal(err)
	}
	same(t, p, large)
}

func TestDamagedIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	if _, err := newCache(t, dir).For(t.Context(), small, nil); err != nil {
		t.Fatal(err)
	}
	g, err := porep.Graph(small)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, g.ParentFileName())
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"flipped": flip(good), "cut": good[:len(good)-4], "empty": {}} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := newCache(t, dir).For(t.Context(), small, nil); p != nil || err != nil {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		if now, err := os.ReadFile(path); err != nil || len(now) != len(bad) {
			t.Errorf("%s: the file was touched, %v", name, err)
		}
	}
}

func flip(b []byte) []byte {
	out := append([]byte(nil), b...)
	out[len(out)/2] ^= 1
	return out
}

func TestSomebodyElseIsAtIt(t *testing.T) {
	dir := t.TempDir()
	g, err := porep.Graph(small)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := fslock.Lock(dir, g.ParentFileName()+extLock)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := newCache(t, dir).For(t.Context(), small, nil); p != nil || err != nil {
		t.Fatal(p, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := newCache(t, dir).For(t.Context(), small, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, p, small)
	if !strings.HasPrefix(filepath.Base(g.ParentFileName()), "v28-sdr-parent-") {
		t.Fatal("not the reference's name:", g.ParentFileName())
	}
}
