package paramcache

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"quarry/proofs/groth16"
	"quarry/proofs/r1cs"
)

// squares is x·x = y with y public, often enough to fill several chunks.
type squares struct{ n int }

func (s squares) Synthesize(_ context.Context, cs r1cs.ConstraintSystem) error {
	var two, four, one r1cs.Element
	two.SetUint64(2)
	four.SetUint64(4)
	one.SetOne()
	for range s.n {
		x, y := cs.Aux(two), cs.Input(four)
		lc := r1cs.LC{{V: x, C: one}}
		cs.Enforce(lc, lc, r1cs.LC{{V: y, C: one}})
	}
	return nil
}

func (s squares) inputs() [][]r1cs.Element {
	out := make([]r1cs.Element, s.n)
	for i := range out {
		out[i].SetUint64(4)
	}
	return [][]r1cs.Element{out}
}

func newCache(t *testing.T, dir string, devnet bool) *Cache {
	t.Helper()
	c, err := New(Config{Dir: dir, Devnet: devnet}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestGeneratedParametersProve(t *testing.T) {
	dir, circuit := t.TempDir(), squares{40}
	c := newCache(t, dir, true)
	if st, err := c.Status("v28-test"); err != nil || st.State != Absent {
		t.Fatal(st, err)
	}
	var missing *MissingError
	if err := c.Need("v28-test"); !errors.As(err, &missing) || !strings.Contains(err.Error(), "generate") {
		t.Fatal(err)
	}
	if err := c.Generate(t.Context(), "v28-test", circuit, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Generate(t.Context(), "v28-test", circuit, nil); !errors.Is(err, ErrPresent) {
		t.Fatal(err)
	}
	if st, err := c.Status("v28-test"); err != nil || st.State != Made || st.Bytes == 0 {
		t.Fatal(st, err)
	}
	if err := errors.Join(c.Need("v28-test"), c.Check(t.Context(), "v28-test", nil)); err != nil {
		t.Fatal(err)
	}
	again := newCache(t, dir, true)
	p, err := again.Params(t.Context(), "v28-test")
	if err != nil {
		t.Fatal(err)
	}
	proof, err := groth16.Prove(t.Context(), p, circuit, groth16.ProveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	vk, err := c.VerifyingKey(t.Context(), "v28-test")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := groth16.Verify(vk, []groth16.Proof{proof}, circuit.inputs()); err != nil || !ok {
		t.Fatal(ok, err)
	}
	rest, err := filepath.Glob(filepath.Join(dir, dirDevnet, "*.state"))
	if err != nil || len(rest) != 0 {
		t.Fatal("the secret is still there", rest, err)
	}
	if newCache(t, dir, false).Has("v28-test") {
		t.Fatal("a public network takes parameters that were generated here")
	}
}

func TestInterruptedGenerationGoesOn(t *testing.T) {
	dir, circuit := t.TempDir(), squares{40}
	c := newCache(t, dir, true)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Generate(ctx, "v28-test", circuit, func(stage string, _, _ int64) {
		if stage == "l" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if st, err := c.Status("v28-test"); err != nil || st.State != Unfinished {
		t.Fatal(st, err)
	}
	part := filepath.Join(dir, dirDevnet, "v28-test.params.part")
	begun, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Generate(t.Context(), "v28-test", circuit, nil); err != nil {
		t.Fatal(err)
	}
	done, err := os.ReadFile(strings.TrimSuffix(part, ".part"))
	if err != nil || !bytes.HasPrefix(done, begun) || len(begun) == 0 {
		t.Fatal("what was there was made anew", err)
	}
}

func TestRestOfAnotherCircuitIsNoUse(t *testing.T) {
	dir := t.TempDir()
	c := newCache(t, dir, true)
	ctx, cancel := context.WithCancel(t.Context())
	_ = c.Generate(ctx, "v28-test", squares{40}, func(stage string, _, _ int64) {
		if stage == "l" {
			cancel()
		}
	})
	if err := c.Generate(t.Context(), "v28-test", squares{41}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context(), "v28-test", nil); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFilesAreRefusedAndKept(t *testing.T) {
	dir := t.TempDir()
	if err := newCache(t, dir, true).Generate(t.Context(), "v28-test", squares{4}, nil); err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{extParams, extKey} {
		path := filepath.Join(dir, dirDevnet, "v28-test"+ext)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, bad := range map[string][]byte{"flipped": flip(good, len(good)/2), "cut": good[:len(good)-1],
			"longer": append(bytes.Clone(good), 0), "empty": {}} {
			t.Run(ext+" "+name, func(t *testing.T) {
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				c := newCache(t, dir, true)
				_, err := c.Params(t.Context(), "v28-test")
				if ext == extKey {
					_, err = c.VerifyingKey(t.Context(), "v28-test")
				}
				var damaged *DamagedError
				if !errors.As(err, &damaged) {
					t.Fatal(err)
				}
				if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, bad) {
					t.Fatal("the file was changed", err)
				}
			})
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(b []byte, at int) []byte {
	out := bytes.Clone(b)
	out[at] ^= 1
	return out
}

func TestPublishedFilesMustBeThose(t *testing.T) {
	dir := t.TempDir()
	var key File
	for _, f := range Published() {
		if strings.HasSuffix(f.Name, extKey) && f.SectorSize == 2048 {
			key = f
			break
		}
	}
	if err := os.WriteFile(filepath.Join(dir, key.Name), make([]byte, key.Bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := newCache(t, dir, false).VerifyingKey(t.Context(), strings.TrimSuffix(key.Name, extKey)); !errors.As(err,
		&damaged) || !strings.Contains(err.Error(), key.Digest) {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "v28-mine.vk"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newCache(t, dir, false).VerifyingKey(t.Context(), "v28-mine"); !errors.As(err, &damaged) {
		t.Fatal(err)
	}
}

func TestNamesStayInside(t *testing.T) {
	c := newCache(t, t.TempDir(), true)
	for _, name := range []string{"", "../x", "a/b", ".", "x.params", strings.Repeat("a", 201)} {
		if _, err := c.Params(t.Context(), name); err == nil {
			t.Errorf("%q was taken", name)
		}
		if err := c.Generate(t.Context(), name, squares{1}, nil); err == nil {
			t.Errorf("%q was generated", name)
		}
	}
}

func TestPublishedListIsWhole(t *testing.T) {
	hexDigest := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	for _, f := range Published() {
		if seen[f.Name] || !hexDigest.MatchString(f.Digest) || f.CID == "" || f.Bytes < 0 {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
		if got, ok := Lookup(f.Name); !ok || got != f {
			t.Errorf("lookup of %s: %v", f.Name, got)
		}
	}
	if len(seen) != 45 {
		t.Fatalf("%d files", len(seen))
	}
	if _, err := hex.DecodeString(Published()[0].Digest); err != nil {
		t.Fatal(err)
	}
}

func TestDirectory(t *testing.T) {
	t.Setenv(EnvDir, "/somewhere")
	c, err := New(Config{}, Deps{})
	if err != nil || c.Dir() != "/somewhere" {
		t.Fatal(c, err)
	}
}

func TestAggregationString(t *testing.T) {
	dir := t.TempDir()
	c := newCache(t, dir, true)
	var missing *MissingError
	if _, err := c.SRS(t.Context()); !errors.As(err, &missing) {
		t.Fatal(err)
	}
	if err := c.GenerateSRS(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	if err := c.GenerateSRS(t.Context(), 4); !errors.Is(err, ErrPresent) {
		t.Fatal(err)
	}
	if err := c.CheckSRS(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f, err := newCache(t, dir, true).SRS(t.Context())
	if err != nil || f.MaxProofs() != 4 {
		t.Fatal(f, err)
	}
	if _, err := newCache(t, dir, false).SRS(t.Context()); !errors.As(err, &missing) {
		t.Fatal("a public network takes a string that was generated here", err)
	}
	path := filepath.Join(dir, dirDevnet, SRSName+extSRS)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, flip(good, len(good)/2), 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := newCache(t, dir, true).SRS(t.Context()); !errors.As(err, &damaged) {
		t.Fatal(err)
	}
}
