package testnet

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is one of the system's own, or the test is left out.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s here", name)
	}
	return path
}

func started(t *testing.T, name string, args ...string) (*Supervisor, *Proc) {
	t.Helper()
	s := NewSupervisor(t.TempDir())
	p, err := s.Start("one", program(t, name), args, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.StopAll(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	return s, p
}

// One that is killed on purpose is not dead, lives again with the same
// arguments, and its log goes on.
func TestKillAndStartAgain(t *testing.T) {
	s, p := started(t, "sh", "-c", "echo alive; exec sleep 600")
	before := time.Now()
	first := p.PID()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Dead(); err != nil {
		t.Errorf("killed on purpose, and yet: %v", err)
	}
	if syscall.Kill(first, 0) == nil {
		t.Error("the process still runs")
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill9(); err != nil {
		t.Fatal(err)
	}
	if p.PID() == first || syscall.Kill(p.PID(), 0) != nil {
		t.Error("it was not started again")
	}
	kills := p.Kills()
	if len(kills) != 2 || p.Killed() != 2 || kills[0].Before(before) || kills[1].Before(kills[0]) {
		t.Errorf("killed at %v", kills)
	}
}

func TestOneThatEndsByItselfIsDead(t *testing.T) {
	s, p := started(t, "sh", "-c", "echo why; exit 3")
	<-p.exited
	err := s.Dead()
	if err == nil || !strings.Contains(err.Error(), "one ended by itself (exit status 3)") {
		t.Errorf("the supervisor says %v", err)
	}
	ended, end := p.Exited(t.Context())
	if !ended || end == nil || end.Error() != "exit status 3" {
		t.Errorf("ended %t, %v", ended, end)
	}
	if b, err := os.ReadFile(p.Log()); err != nil || string(b) != "why\n" {
		t.Errorf("log %q, %v", b, err)
	}
	if err := s.Dead(); err != nil {
		t.Errorf("an end that was waited for is no surprise: %v", err)
	}
}

func TestExitedGivesUpWithItsContext(t *testing.T) {
	s, p := started(t, "sleep", "600")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ended, err := p.Exited(ctx); ended || err != nil {
		t.Errorf("ended %t, %v", ended, err)
	}
	if err := s.Dead(); err != nil {
		t.Error(err)
	}
}

// A paused process does nothing, also not end when it is asked politely, and
// still stops when its time is over.
func TestPauseResumeStop(t *testing.T) {
	_, p := started(t, "sleep", "600")
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	for state(t, p) != 'T' {
		time.Sleep(time.Millisecond) // the kernel's answer to the signal
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if err := p.Dead(); err != nil {
		t.Error(err)
	}
}

// state is the kernel's letter for what a process does.
func state(t *testing.T, p *Proc) byte {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the states of processes are read from /proc")
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	if !ok {
		t.Fatalf("stat %q", b)
	}
	return rest[0]
}

func TestStopSaysWhenItHadToKill(t *testing.T) {
	_, p := started(t, "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")
	for {
		if b, err := os.ReadFile(p.Log()); err == nil && len(b) > 0 {
			break
		}
		time.Sleep(time.Millisecond) // until it does not listen any more
	}
	if err := p.Stop(50 * time.Millisecond); err == nil || err.Error() != "one did not stop within 50ms" {
		t.Errorf("stopping a deaf process: %v", err)
	}
}
