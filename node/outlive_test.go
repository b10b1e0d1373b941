package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/internal/interrupt"
	"quarry/node/repo"
)

// monolithSettings are those of a miner with markets, on a full node whose chain
// stands still.
func monolithSettings(t *testing.T, full string) Settings {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "miner")
	file := "[API]\nListenAddress = \"127.0.0.1:0\"\n[Libp2p]\nListenAddresses = [\"/ip4/127.0.0.1/tcp/0\"]\n"
	if _, err := (InitMiner{Dir: dir, Actor: minerID, SectorSize: 2 << 10, Config: []byte(file)}).Run(t.Context(),
		newSetupChain(t)); err != nil {
		t.Fatal(err)
	}
	return load(t, dir, full)
}

func partOf(t *testing.T, p *running, name string) api.PartStatus {
	t.Helper()
	s, err := p.NodeStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range s.Parts {
		if part.Name == name {
			return part
		}
	}
	t.Fatalf("no part %s in %+v", name, s.Parts)
	return api.PartStatus{}
}

// works tells that what owes proofs works, whatever else does not.
func works(t *testing.T, p *running) {
	t.Helper()
	for _, name := range []string{"heads", "storage", "sealing", "mining", "api"} {
		if part := partOf(t, p, name); !part.Up || part.Error != "" {
			t.Errorf("%+v", part)
		}
	}
	if _, err := p.MiningStatus(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := p.SectorsList(t.Context(), 0, 1); err != nil {
		t.Error(err)
	}
}

// A port of the public side that is taken costs a miner its public side, and not
// its proofs: it is told, and is there by itself when the port is free. A markets
// node, which is nothing else, refuses to start.
func TestTakenPortsDoNotStopAMiner(t *testing.T) {
	full := fakeNode(t)
	var taken [2]net.Listener
	for i := range taken {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		taken[i] = l
	}
	port := func(i int) int { return taken[i].Addr().(*net.TCPAddr).Port }
	set := monolithSettings(t, full)
	set.RetrievalListen, set.Libp2pListen = taken[0].Addr().String(), []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port(1))}
	p := start(t, set)
	works(t, p)
	for name, want := range map[string]string{"retrieval": "is the port taken", "markets": "address already in use"} {
		if part := partOf(t, p, name); part.Up || !strings.Contains(part.Error, want) || part.Next.IsZero() && part.Restarts == 0 {
			t.Errorf("%+v", part)
		}
	}
	var away *api.ErrUnreachable
	if _, err := p.MarketGetAsk(t.Context()); !errors.As(err, &away) || !strings.Contains(err.Error(), "started again") {
		t.Errorf("markets that are down answer %v", err)
	}
	if _, err := p.NetAddrsListen(t.Context()); !errors.As(err, &away) {
		t.Errorf("a host that is down answers %v", err)
	}
	if code := status(t, "GET", "http://"+p.addr+"/staged/x", ""); code != 503 {
		t.Errorf("staged pieces answer %d", code)
	}
	for _, l := range taken {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the public side is there", func() bool {
		return partOf(t, p, "retrieval").Up && partOf(t, p, "markets").Up
	})
	works(t, p)
	if addrs, err := p.NetAddrsListen(t.Context()); err != nil || len(addrs.Addrs) != 1 {
		t.Errorf("%+v, %v", addrs, err)
	}
	p.stop(t)

	public := marketsSettings(t, full, "a.b.c:"+freePort(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	public.RetrievalListen = l.Addr().String()
	if err := Run(t.Context(), public); err == nil || !strings.Contains(err.Error(), "is the port taken") {
		t.Errorf("a markets node: %v", err)
	}
}

// Records that cannot be read stop what they are about: a sector itself, a token
// itself, and the markets of a miner where they need it; the miner proves on.
func TestPoisonedRecords(t *testing.T) {
	set := monolithSettings(t, fakeNode(t))
	token := tokenFor(t, set.RepoDir, api.RoleWorker, "")
	r, err := repo.Open(set.RepoDir)
	if err != nil {
		t.Fatal(err)
	}
	good := `{"Number":4,"State":"Proving","CC":true}`
	for k, v := range map[string]string{"/sectors/3": `{"Number":3,"State":`, "/sectors/4": good,
		"/sectors/5": `{"Number":5,"State":"Flying"}`} {
		if err := r.Datastore(repo.Sealing).Put(t.Context(), datastore.NewKey(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.Datastore(repo.Auth).Put(t.Context(), datastore.NewKey("x"), []byte("{")), r.Close()); err != nil {
		t.Fatal(err)
	}
	p := start(t, set)
	works(t, p)
	list, err := p.SectorsList(t.Context(), 0, 10)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, s := range list {
		broken := s.Sector.ID.Number != 4
		if broken != strings.Contains(s.LastErr, "restore the store from a backup") || broken != (s.State == api.SectorFailedForGood) {
			t.Errorf("%+v", s)
		}
	}
	if _, err := p.AuthVerify(t.Context(), token); err != nil {
		t.Errorf("another token: %v", err)
	}
}

// A worker is not told what goes on inside, as reasons may name paths, and a markets
// peer nothing at all.
func TestPartsAreToldToOperators(t *testing.T) {
	set := monolithSettings(t, fakeNode(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	set.RetrievalListen = l.Addr().String()
	tokens := map[string]bool{tokenFor(t, set.RepoDir, api.RoleWorker, ""): false,
		tokenFor(t, set.RepoDir, "", api.PermRead): true, tokenFor(t, set.RepoDir, "", api.PermAdmin): true}
	peer := tokenFor(t, set.RepoDir, api.RoleMarketsPeer, "")
	p := start(t, set)
	for token, all := range tokens {
		s, err := dial(t, token+":"+p.addr).NodeStatus(t.Context())
		i := slices.IndexFunc(s.Parts, func(p api.PartStatus) bool { return p.Name == "retrieval" })
		if err != nil || i < 0 || strings.Contains(s.Parts[i].Error, l.Addr().String()) != all || s.Parts[i].Error == "" {
			t.Errorf("%+v, %v", s, err)
		}
	}
	var missing *api.ErrPermission
	if _, err := dial(t, peer+":"+p.addr).NodeStatus(t.Context()); !errors.As(err, &missing) {
		t.Errorf("a markets peer was told: %v", err)
	}
}

// fullDisk is the process of TestStopOnFullDisk: it runs, makes every write fail
// as a full disk does, and is stopped by a signal.
func fullDisk(dir, full string) int {
	return interrupt.Main(func(ctx context.Context) error {
		set, err := LoadSettings(dir, nil)
		if err != nil {
			return err
		}
		set.FullNodeInfo, set.StopBudget = full, 15*time.Second
		set.Log = slog.New(slog.NewTextHandler(onLine(func(line string) {
			fmt.Print(line)
			if strings.Contains(line, "msg=running") {
				interruptedWrites()
				fmt.Println("full")
			}
		}), nil))
		return Run(ctx, set)
	})
}

// interruptedWrites lets no file of this process grow any more.
func interruptedWrites() {
	ignoreTooBig()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 0, Max: 0}); err != nil {
		panic(err)
	}
}

// Each signal ends a process in order, with code 0 and within its budget, also
// when nothing can be written any more; what it acknowledged before is there.
func TestStopOnFullDisk(t *testing.T) {
	full := fakeNode(t)
	// Under nohup a hangup is ignored, and children would inherit that; what is
	// caught here is not ignored there.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			set := monolithSettings(t, full)
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "NODE_TEST_FULL_DISK="+set.RepoDir, "NODE_TEST_FULL_NODE="+full)
			stderr := new(strings.Builder)
			cmd.Stderr = stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			var said strings.Builder
			for lines.Scan() && lines.Text() != "full" {
				fmt.Fprintln(&said, lines.Text())
			}
			info, err := repo.APIInfo(set.RepoDir)
			if err != nil {
				t.Fatalf("%v\n%s%s", err, &said, stderr)
			}
			node := dial(t, info)
			if _, err := node.AuthCreate(t.Context(), api.TokenRequest{Name: "x", Perm: api.PermRead}); err == nil {
				t.Error("the disk is not full")
			}
			began := time.Now()
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() {
				fmt.Fprintln(&said, lines.Text())
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s%s", err, &said, stderr)
			}
			if d := time.Since(began); d > 15*time.Second {
				t.Errorf("stopping took %v", d)
			}
			if !strings.Contains(said.String(), "what it acknowledged is in its log") {
				t.Errorf("the operator is not told: %s", &said)
			}
			if _, err := os.Stat(filepath.Join(set.RepoDir, repo.FileAPI)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the api file stays: %v", err)
			}
			start(t, set).stop(t)
		})
	}
}
