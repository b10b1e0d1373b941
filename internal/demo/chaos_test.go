package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// commands are what the demo runs.
var commands = []string{"miner", "miner-worker", "miner-devnet", "miner-client"}

// built is the directory with the real binaries, made once for all tests. They
// are compiled as the tests are, so that the compiler has done most of it
// already, and linked without what only a debugger needs.
var built struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(built.dir)
	os.Exit(code)
}

func buildCommands(t *testing.T) string {
	t.Helper()
	built.Do(func() { built.dir, built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

func build() (string, error) {
	dir, err := os.MkdirTemp("", "quarry-demo-")
	if err != nil {
		return "", err
	}
	args := []string{"build", "-ldflags=-s -w", "-o", dir + "/"}
	for _, c := range commands {
		args = append(args, "quarry/cmd/"+c)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build the commands: %w\n%s", err, out)
	}
	return dir, nil
}

// Real processes, a real chain: devnet, both miners and the worker are killed
// without warning while two deals are made, sealed, retrieved and proven; each
// dies at least once, nothing is lost, and nothing happens twice.
func TestKillEverybody(t *testing.T) {
	if testing.Short() {
		t.Skip("runs five processes for most of a minute")
	}
	o := options{
		bin:        buildCommands(t),
		dir:        filepath.Join(t.TempDir(), "run"),
		sectorSize: "2KiB",
		deals:      2,
		proofs:     1,
		chaos:      true,
		every:      1500 * time.Millisecond,
		rounds:     1,
		seed:       time.Now().UnixNano(),
		budget:     4 * time.Minute,
		marketsEnv: []string{"MINER_DEALMAKING_PUBLISHMSGPERIOD=10 epochs"},
	}
	t.Logf("seed %d", o.seed)
	if err := run(t.Context(), o); err != nil {
		showLogs(t, o.dir)
		t.Fatal(err)
	}
}

// The devnet is killed at ever later moments of its first start, while it makes
// its keys, sectors and genesis, and then at random ones: it always starts
// again, and its chain only grows.
func TestDevnetKilledFromTheStart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the devnet twenty times")
	}
	o := options{
		bin:        buildCommands(t),
		dir:        filepath.Join(t.TempDir(), "run"),
		sectorSize: "2KiB",
		file:       "doc.go",
		deals:      1,
		budget:     3 * time.Minute,
	}
	ctx, cancel := context.WithTimeout(t.Context(), o.budget)
	defer cancel()
	d, err := newDemo(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(20 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			showLogs(t, d.Dir())
		}
	}()
	start := func() (err error) {
		if d.DevnetProc != nil {
			return d.DevnetProc.Kill9()
		}
		d.DevnetProc, err = d.RunDevnet("devnet", d.DevnetPort())
		return err
	}
	for delay := time.Duration(0); delay < 600*time.Millisecond; delay += 50 * time.Millisecond {
		if err := start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delay) // the accident's moment, not a wait for anything
	}
	var height abi.ChainEpoch
	rng := rand.New(rand.NewSource(time.Now().UnixNano()))
	for range 5 {
		if err := start(); err != nil {
			t.Fatal(err)
		}
		if err := d.AwaitDevnet(ctx); err != nil {
			t.Fatal(err)
		}
		head, err := d.Chain.ChainHead(ctx)
		d.Chain.Close()
		if err != nil || head.Height < height {
			t.Fatalf("head %v after %d, %v", head, height, err)
		}
		height = head.Height
		time.Sleep(time.Duration(rng.Intn(300)) * time.Millisecond)
	}
}

// showLogs prints the end of every log.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		out, err := exec.CommandContext(t.Context(), "tail", "-n", "25", f).CombinedOutput()
		t.Logf("%s (%v):\n%s", filepath.Base(f), err, out)
	}
}
