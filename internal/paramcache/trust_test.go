package paramcache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quarry/proofs/groth16"
)

const testName = "v28-test"

// generated is a directory with parameters of a small circuit.
func generated(t *testing.T) (dir, params string) {
	t.Helper()
	dir = t.TempDir()
	if err := newCache(t, dir, true).Generate(t.Context(), testName, squares{4}, nil); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, dirDevnet, testName+extParams)
}

func TestNobodyWaitsForAnotherFile(t *testing.T) {
	dir, _ := generated(t)
	c := newCache(t, dir, true)
	slotOf(&c.mu, c.params, "v28-long").token <- struct{}{} // somebody checks it
	c.srs.token <- struct{}{}
	if _, err := c.Params(t.Context(), testName); err != nil {
		t.Fatal(err)
	}
	if _, err := c.VerifyingKey(t.Context(), testName); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Params(ctx, "v28-long"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "v28-long") {
		t.Fatal(err)
	}
}

func TestTheSameFileIsOpenedOnce(t *testing.T) {
	dir, _ := generated(t)
	c := newCache(t, dir, true)
	type result struct {
		p   *groth16.Params
		err error
	}
	out := make(chan result)
	for range 8 {
		go func() {
			p, err := c.Params(t.Context(), testName)
			out <- result{p, err}
		}()
	}
	first := <-out
	for range 7 {
		if r := <-out; r.err != nil || r.p != first.p {
			t.Error(r.p, r.err)
		}
	}
	if first.err != nil || len(c.files) != 1 {
		t.Fatal(first.err, len(c.files))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := groth16.Prove(t.Context(), first.p, squares{4}, groth16.ProveOptions{}); !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
}

// damage changes a byte and leaves size and time of modification as they were.
func damage(t *testing.T, path string) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, flip(b, len(b)/2), 0o600), os.Chtimes(path, st.ModTime(), st.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// forge says, as anybody could who may write there, that a file is the good one.
func forge(t *testing.T, c *Cache, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id, err := identify(f)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.wanted(filepath.Base(path), true)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(record{want.digest, id})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.dir, dirChecked)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, recordName(path)), raw, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestProvesWithoutRecords(t *testing.T) {
	dir, _ := generated(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.RemoveAll(filepath.Join(dir, dirChecked)),
		os.WriteFile(filepath.Join(dir, dirChecked), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Dir: dir, Devnet: true, Records: filepath.Join(file, "records")}, Deps{}) // neither place can be written
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Params(t.Context(), testName); err != nil {
		t.Fatal("parameters are good, only the check cannot be recorded:", err)
	}
}

func TestFileCutWhileInUse(t *testing.T) {
	dir, path := generated(t)
	p, err := newCache(t, dir, true).Params(t.Context(), testName)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 2000); err != nil {
		t.Fatal(err)
	}
	if _, err := groth16.Prove(t.Context(), p, squares{4}, groth16.ProveOptions{}); err == nil ||
		!strings.Contains(err.Error(), "unexpected EOF") {
		t.Fatal(err)
	}
}

func TestGenerationReplacesNothing(t *testing.T) {
	for _, lost := range []string{testName + extParams + ".json", testName + extKey + ".json", testName + extKey, testName + extParams} {
		t.Run(lost, func(t *testing.T) {
			dir, path := generated(t)
			left := path
			if lost == testName+extParams {
				left = strings.TrimSuffix(path, extParams) + extKey
			}
			before, err := os.ReadFile(left)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, dirDevnet, lost)); err != nil {
				t.Fatal(err)
			}
			err = newCache(t, dir, true).Generate(t.Context(), testName, squares{4}, nil)
			if err == nil || errors.Is(err, ErrPresent) || !strings.Contains(err.Error(), left) {
				t.Fatal(err)
			}
			if now, err := os.ReadFile(left); err != nil || !bytes.Equal(now, before) {
				t.Fatal("what was there has changed", err)
			}
		})
	}
}

func TestSecretGoesWithItsTemporaryCopies(t *testing.T) {
	dir, path := generated(t)
	final := strings.TrimSuffix(path, extParams)
	// as a crash leaves them
	for _, secret := range []string{final + extState, filepath.Join(dir, dirDevnet, "."+testName+extState+".tmp-1")} {
		if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := newCache(t, dir, true).Generate(t.Context(), testName, squares{4}, nil); !errors.Is(err, ErrPresent) {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(dir, dirDevnet))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.Contains(f.Name(), extState) {
			t.Error("still there:", f.Name())
		}
	}
}

func TestOneGenerationAtATime(t *testing.T) {
	c := newCache(t, t.TempDir(), true)
	_, unlock, err := c.begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Generate(t.Context(), testName, squares{4}, nil); err == nil || !strings.Contains(err.Error(), "wait for it") {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := c.Generate(t.Context(), testName, squares{4}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestKeyMustBelongToParameters(t *testing.T) {
	dir, path := generated(t)
	other, _ := generated(t)
	for _, ext := range []string{extKey, extKey + ".json"} { // consistent in itself
		b, err := os.ReadFile(filepath.Join(other, dirDevnet, testName+ext))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(strings.TrimSuffix(path, extParams)+ext, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var damaged *DamagedError
	if err := newCache(t, dir, true).Check(t.Context(), testName, nil); !errors.As(err, &damaged) ||
		!strings.Contains(err.Error(), "not the key") {
		t.Fatal(err)
	}
}
