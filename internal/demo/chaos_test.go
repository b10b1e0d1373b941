package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// commands are what the demo runs.
var commands = []string{"miner", "miner-worker", "miner-devnet", "miner-client"}

// buildCommands makes the real binaries.
func buildCommands(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "bin")
	args := []string{"build", "-trimpath", "-o", bin + "/"}
	for _, c := range commands {
		args = append(args, "quarry/cmd/"+c)
	}
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build the commands: %v\n%s", err, out)
	}
	return bin
}

// Real processes, a real chain: devnet, both miners and the worker are killed
// without warning while two deals are made, sealed, retrieved and proven; each
// dies at least once, nothing is lost, and nothing happens twice.
func TestKillEverybody(t *testing.T) {
	if testing.Short() {
		t.Skip("runs five processes for most of a minute")
	}
	o := options{bin: buildCommands(t), dir: filepath.Join(t.TempDir(), "run"), sectorSize: "2KiB", deals: 2, proofs: 1,
		chaos: true, every: 1500 * time.Millisecond, rounds: 1, seed: time.Now().UnixNano(), budget: 4 * time.Minute,
		marketsEnv: []string{"MINER_DEALMAKING_PUBLISHMSGPERIOD=10 epochs"}}
	t.Logf("seed %d", o.seed)
	if err := run(t.Context(), o); err != nil {
		showLogs(t, o.dir)
		t.Fatal(err)
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
