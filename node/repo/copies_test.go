package repo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// copied makes a copy of a repo in use, as cp -r does.
func copied(t *testing.T, r *Repo) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(r.Dir())); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, FileToken), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range must(os.ReadDir(filepath.Join(dir, dirKeystore))) {
		if err := os.Chmod(filepath.Join(dir, dirKeystore, e.Name()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A copy of a repo has its ID and is not opened while the first is open; a repo of
// its own has another one.
func TestCopyOfARepoInUse(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	r := fresh(t)
	dir, id := copied(t, r), r.ID()
	var copy *ErrCopy
	if _, err := Open(dir); !errors.As(err, &copy) || copy.Dir != dir ||
		!strings.HasPrefix(copy.Holder, fmt.Sprintf("process %d on ", os.Getpid())) ||
		!strings.HasSuffix(copy.Holder, "(repo "+r.Dir()+")") || !strings.Contains(err.Error(), "never run both") {
		t.Fatalf("got %v", err)
	}
	if other := fresh(t); other.ID() == id {
		t.Error("two repos have one ID")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	c := reopen(t, dir)
	if c.ID() != id || c.ID().String() == "00000000-0000-0000-0000-000000000000" {
		t.Errorf("the copy has ID %s, not %s", c.ID(), id)
	}
	if _, err := Open(r.Dir()); !errors.As(err, &copy) || !strings.Contains(copy.Holder, dir) {
		t.Errorf("the first while the copy is open: %v", err)
	}
}

// Where this user has no place for locks, a repo opens all the same.
func TestOpenWithoutAPlaceForLocks(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	fresh(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", file)
	fresh(t)
}

func TestOpenAs(t *testing.T) {
	r := fresh(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var kind *ErrKind
	if _, err := OpenAs(r.Dir(), KindMarkets); !errors.As(err, &kind) || err.Error() != r.Dir()+
		" is the repo of a miner, not of a markets; name another directory" {
		t.Errorf("got %v", err)
	}
	if r, err := OpenAs(r.Dir(), KindMiner); err != nil || r.Close() != nil {
		t.Errorf("got %v", err)
	}
	var none *ErrNoRepo
	if _, err := OpenAs(t.TempDir(), KindMiner); !errors.As(err, &none) {
		t.Errorf("got %v", err)
	}
}

// A token record that cannot be read costs its own token.
func TestPoisonedTokenRecord(t *testing.T) {
	r := fresh(t)
	token := must(r.Tokens().Create(t.Context(), api.TokenRequest{Name: "x", Perm: api.PermRead}))
	lost := must(r.Tokens().Create(t.Context(), api.TokenRequest{Name: "lost", Perm: api.PermRead}))
	id := ""
	for _, rec := range r.Tokens().List() {
		if rec.Name == "lost" {
			id = rec.ID
		}
	}
	for key, v := range map[string]string{id: "{\"ID\":", "other": "{}"} {
		if err := r.Datastore(Auth).Put(t.Context(), datastore.NewKey(key), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = reopen(t, r.Dir())
	if _, err := r.Tokens().Verify(t.Context(), token); err != nil {
		t.Errorf("another token: %v", err)
	}
	if _, err := r.Tokens().Verify(t.Context(), lost); err == nil {
		t.Error("the token of the lost record works")
	}
	if n := len(r.Tokens().List()); n != 2 { // the other one is that of local commands
		t.Errorf("%d tokens", n)
	}
}

// stuck is a datastore whose engine tries for ever.
type stuck struct{ release chan struct{} }

func (s stuck) Close() error { <-s.release; return nil }

// Closing is bounded: what hangs is told as such, and an error is an error.
func TestCloseIsBounded(t *testing.T) {
	old := closeBudget
	closeBudget = time.Millisecond
	defer func() { closeBudget = old }()
	s := stuck{release: make(chan struct{})}
	var unflushed *ErrUnflushed
	if err := closeWithin(s.Close); !errors.As(err, &unflushed) || unflushed.After != time.Millisecond ||
		!strings.Contains(err.Error(), "is read at the next start") {
		t.Errorf("got %v", err)
	}
	close(s.release)
	closeBudget = time.Hour
	boom := errors.New("boom")
	if err := closeWithin(func() error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if old != 5*time.Second {
		t.Errorf("the budget is %s", old)
	}
}
