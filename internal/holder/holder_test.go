package holder

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
)

// TestMain is also a process that holds a file: this binary, told by its
// environment.
func TestMain(m *testing.M) {
	if path := os.Getenv("HOLDER_TEST_PATH"); path != "" {
		_, err := Take(path, Self("the other process"))
		fmt.Println("took:", err)
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until it is killed
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func take(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := Take(path, Self("test"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The lock is another process's until that ends, be it by kill -9, and its name
// is told.
func TestTakeAcrossProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "HOLDER_TEST_PATH="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "took: <nil>\n" {
		t.Fatalf("%q, %v", line, err)
	}
	var held *ErrHeld
	_, err = Take(path, Self("test"))
	host, _ := os.Hostname()
	if !errors.As(err, &held) || held.Path != path || !strings.HasPrefix(held.Holder,
		fmt.Sprintf("process %d on %s since 2", cmd.Process.Pid, host)) ||
		!strings.HasSuffix(held.Holder, "(the other process)") {
		t.Fatalf("got %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if err := take(t, path).Release(); err != nil {
		t.Fatal(err)
	}
}

func TestTakeAndRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for range 3 {
		l := take(t, path)
		var held *ErrHeld
		if _, err := Take(path, Self("x")); !errors.As(err, &held) || !strings.Contains(held.Holder, "(test)") {
			t.Fatalf("taken twice: %v", err)
		}
		for range 2 {
			if err := l.Release(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the file stays: %v", err)
		}
	}
	// What a killed holder left says nothing.
	if err := os.WriteFile(path, []byte("process 1 on x"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := take(t, path)
	if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), fmt.Sprintf("process %d on", os.Getpid())) {
		t.Errorf("%q, %v", b, err)
	}
	// A file that was removed under its holder is nobody's.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Release(), take(t, path).Release()); err != nil {
		t.Error(err)
	}
}

func TestTakeWhereNobodyCan(t *testing.T) {
	dir := t.TempDir()
	if _, err := Take(filepath.Join(dir, "no", "lock"), Self("x")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoLocks) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := Take(dir, Self("x")); !errors.Is(err, ErrNoLocks) {
		t.Errorf("a directory: %v", err)
	}
	// The holder of a file that says nothing is another process.
	path := filepath.Join(dir, "lock")
	l := take(t, path)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	var held *ErrHeld
	if _, err := Take(path, Self("x")); !errors.As(err, &held) || held.Holder != "another process" || err.Error() != path+
		" is held by another process" {
		t.Errorf("%v", err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

// All directories or none: one that is held gives the others back; those that
// cannot be locked are told and passed over.
func TestTakeAll(t *testing.T) {
	a, b, gone := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "gone")
	held, skipped, err := TakeAll([]string{a, gone, b}, ".lock", Self("x"))
	if err != nil || len(held) != 2 || len(skipped) != 1 || !errors.Is(skipped[0], fs.ErrNotExist) {
		t.Fatalf("%v, %v, %v", held, skipped, err)
	}
	if err := held[0].Release(); err != nil {
		t.Fatal(err)
	}
	var used *ErrHeld
	if got, _, err := TakeAll([]string{a, b}, ".lock", Self("y")); !errors.As(err, &used) ||
		used.Path != filepath.Join(b, ".lock") || got != nil {
		t.Errorf("%v, %v", got, err)
	}
	if err := errors.Join(take(t, filepath.Join(a, ".lock")).Release(), held[1].Release()); err != nil {
		t.Errorf("the other directory was kept: %v", err)
	}
}

func TestHoldersAreShownInOneLine(t *testing.T) {
	h := Holder{PID: 3, Host: "a\nb", Since: time.Date(2024, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}
	if got := h.String(); got != "process 3 on a\\nb since 2024-01-02T02:04:05Z" {
		t.Error(got)
	}
	h.What = "repo\t/x"
	if got := h.String(); got != "process 3 on a\\nb since 2024-01-02T02:04:05Z (repo\\t/x)" {
		t.Error(got)
	}
}

// A place is the same for the same directory only, and says nothing of it.
func TestPlace(t *testing.T) {
	a := Place("/var/lib/miner")
	if a != Place("/var/lib/miner") || a == Place("/var/lib/markets") || len(a) != 32 || strings.Contains(a, "var") {
		t.Error(a)
	}
}

func claimant(pid int, place string) Claimant {
	return Claimant{Holder: Holder{PID: pid, Host: "h"}, Instance: uuid.New(), Place: place}
}

func claim(t *testing.T, r *Register, c Claimant, holder int) {
	t.Helper()
	err := r.Claim("id", c)
	var held *ErrHeld
	switch {
	case holder == c.PID && err != nil:
		t.Fatalf("%d is refused: %v", c.PID, err)
	case holder != c.PID && (!errors.As(err, &held) || held.Path != "id" ||
		!strings.HasPrefix(held.Holder, fmt.Sprintf("process %d on h", holder))):
		t.Fatalf("%d is told %v, not that %d is the holder", c.PID, err, holder)
	}
}

// The earlier process stays the holder while it is heard of, to the instant.
func TestEarlierKeepsTheIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegister(RegisterConfig{})
		if r.Silence() != 15*time.Second {
			t.Fatal(r.Silence())
		}
		a, b := claimant(1, "x"), claimant(2, "y")
		claim(t, r, a, 1)
		for range 10 {
			time.Sleep(10 * time.Second)
			claim(t, r, b, 1)
			claim(t, r, a, 1)
		}
		time.Sleep(15 * time.Second)
		claim(t, r, b, 1)
		if h, ok := r.Holder("id"); !ok || h.PID != 1 {
			t.Errorf("%v, %v", h, ok)
		}
		time.Sleep(1)
		if h, ok := r.Holder("id"); ok {
			t.Errorf("a silent one holds: %v", h)
		}
		claim(t, r, b, 2)
		claim(t, r, a, 2)
		if err := r.Claim("another", a); err != nil {
			t.Errorf("another identity: %v", err)
		}
		if _, ok := r.Holder("nobody"); ok {
			t.Error("nobody holds")
		}
		if err := r.Claim("id", Claimant{}); err == nil {
			t.Error("one without an instance is taken")
		}
	})
}

// A restart takes over at once. When the one it seemed to replace speaks again,
// it was a copy: the first has its identity back, whatever the copy says.
func TestRestartAndCopyInOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegister(RegisterConfig{Silence: time.Second})
		a, b, c := claimant(1, "x"), claimant(2, "x"), claimant(3, "x")
		claim(t, r, a, 1)
		claim(t, r, b, 2)
		claim(t, r, c, 3) // restarted twice
		claim(t, r, b, 2) // which was not true
		for range 3 {
			claim(t, r, c, 2)
			claim(t, r, b, 2)
			time.Sleep(900 * time.Millisecond)
		}
		time.Sleep(time.Second)
		claim(t, r, c, 3) // the first one ended after all
		claim(t, r, b, 2) // the same place: as if it were restarted
		nowhere, other := claimant(4, ""), claimant(5, "")
		r = NewRegister(RegisterConfig{Silence: time.Second})
		claim(t, r, nowhere, 4)
		claim(t, r, other, 4) // no place is not one place
	})
}

func TestRegisterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegister(RegisterConfig{Max: 2})
		for _, id := range []string{"a", "b", "a", "c"} {
			if err := r.Claim(id, claimantOf(id)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for id, want := range map[string]bool{"a": true, "b": false, "c": true} {
			if _, ok := r.Holder(id); ok != want {
				t.Errorf("%s is remembered: %v", id, ok)
			}
		}
		if NewRegister(RegisterConfig{}).cfg.Max != 1000 {
			t.Error("another default")
		}
	})
}

var known = map[string]Claimant{}

func claimantOf(id string) Claimant {
	if _, ok := known[id]; !ok {
		known[id] = claimant(len(known)+1, "")
	}
	return known[id]
}
