package testnet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quarry/api"
	"quarry/api/client"
)

// shown is a token as the nodes make them.
const shown = "eyJhbGciOiJIUzI1NiJ9.eyJBbGxvdyI6W119.c2lnbmF0dXJl"

// recorders makes programs under the names of ours that write down their
// arguments and environment.
func recorders(t *testing.T) (bin, record string) {
	t.Helper()
	bin, record = t.TempDir(), filepath.Join(t.TempDir(), "record")
	script := "#!/bin/sh\necho \"ARG $0 $*\" >> " + record + "\nenv | sed 's/^/ENV /' >> " + record + "\n"
	for _, name := range []string{"miner", "miner-worker", "miner-devnet", "miner-client"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return bin, record
}

// repoOf makes what a running process leaves in its repo.
func repoOf(t *testing.T, dir string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "token"), []byte(shown), 0o600),
		os.WriteFile(filepath.Join(dir, "api"), []byte("/ip4/127.0.0.1/tcp/1/http\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// No process of a network is started with a token in its arguments, where ps shows
// it to everybody: tokens go by the environment.
func TestNoTokenInArguments(t *testing.T) {
	bin, record := recorders(t)
	n, err := New(Config{Bin: bin, Dir: filepath.Join(t.TempDir(), "run"), SectorSize: "2KiB"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Procs.StopAll(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	repoOf(t, n.Repo("devnet"))
	repoOf(t, n.Repo("miner"))
	n.Miner = new(client.MinerAPI)
	n.Miner.CommonStruct.Internal.AuthCreate = func(context.Context, api.TokenRequest) (string, error) { return shown, nil }
	peer, err := n.TokenFor(t.Context(), api.RoleMarketsPeer, "markets")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.InitMarkets(t.Context(), peer); err != nil {
		t.Fatal(err)
	}
	run := func(p *Proc, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if ended, err := p.Exited(t.Context()); !ended || err != nil {
			t.Fatal(err)
		}
	}
	run(n.RunDevnet("devnet", 1))
	run(n.RunMiner("miner", "miner"))
	run(n.RunMarkets("markets", "markets"))
	run(n.RunWorker(t.Context(), "worker", "worker"))
	b, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	args, env := 0, 0
	for _, line := range strings.Split(string(b), "\n") {
		switch has := strings.Contains(line, shown); {
		case strings.HasPrefix(line, "ARG ") && has:
			t.Errorf("ps would show: %s", line)
		case strings.HasPrefix(line, "ARG "):
			args++
		case strings.HasPrefix(line, "ENV ") && has:
			env++
		}
	}
	if args != 5 || env != 5 { // the full node gets none, the init two
		t.Errorf("%d processes, %d tokens in environments:\n%s", args, env, b)
	}
}

// Whoever tries is refused before anything runs, and the error tells no token.
func TestTokensInArgumentsAreRefused(t *testing.T) {
	s := NewSupervisor(t.TempDir())
	args := []string{"-c", "true", "--node", shown + ":/ip4/127.0.0.1/tcp/1/http"}
	if _, err := s.Start("one", program(t, "sh"), args, nil); !errors.Is(err, errSecret) || strings.Contains(err.Error(), shown) {
		t.Errorf("%v", err)
	}
	if _, err := Command(t.Context(), t.TempDir(), program(t, "sh"), nil, args...); !errors.Is(err, errSecret) ||
		strings.Contains(err.Error(), shown) {
		t.Errorf("%v", err)
	}
}

// Nobody else reads what a network leaves on the disk.
func TestNetworksKeepTheirFilesToThemselves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	n, err := New(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Command(t.Context(), n.Logs(), program(t, "true"), nil); err != nil {
		t.Fatal(err)
	}
	p, err := n.Procs.Start("one", program(t, "true"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ended, err := p.Exited(t.Context()); !ended || err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, n.Logs(): 0o700, p.Log(): 0o600,
		filepath.Join(n.Logs(), "commands.log"): 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
}
