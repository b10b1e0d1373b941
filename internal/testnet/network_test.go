package testnet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNewEmptiesItsDirectoryOnly(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"run/old", "beside"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n, err := New(Config{Dir: filepath.Join(dir, "run")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(n.Repo("old")); !os.IsNotExist(err) {
		t.Errorf("what was there is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "beside")); err != nil {
		t.Error(err)
	}
	if err := n.Close(time.Second); err != nil {
		t.Error(err)
	}
}

// Links have two ends; the public listeners of the markets node count as its own.
func TestLinksOfAProcess(t *testing.T) {
	n, err := New(Config{Dir: t.TempDir(), Linked: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(time.Second); err != nil {
			t.Error(err)
		}
	}()
	for _, ends := range [][2]string{{"worker", "miner"}, {"miner", "devnet"}, {"client", "libp2p"}, {"client", "retrieval"},
		{"miner", "markets"}} {
		port, err := n.via(ends[0], ends[1], 1)
		if err != nil || port == 1 {
			t.Fatalf("%v: port %d, %v", ends, port, err)
		}
		if again, err := n.via(ends[0], ends[1], 1); err != nil || again != port {
			t.Errorf("%v: another link, %d after %d, %v", ends, again, port, err)
		}
	}
	for name, want := range map[string]int{"worker": 1, "miner": 3, "devnet": 1, "markets": 3, "client": 2, "libp2p": 0, "nobody": 0} {
		if got := len(n.Links(name)); got != want {
			t.Errorf("%s has %d links, want %d", name, got, want)
		}
	}
	info, err := n.linked("token:/ip4/127.0.0.1/tcp/1/http", "worker", "miner", 1)
	if err != nil || strings.HasSuffix(info, "/tcp/1/http") || !strings.HasPrefix(info, "token:/ip4/127.0.0.1/tcp/") {
		t.Errorf("info %q, %v", info, err)
	}
}

func TestUntil(t *testing.T) {
	n, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	end := errors.New("beyond help")
	if err := n.Until(t.Context(), "nothing", func(context.Context) (bool, error) { return false, &Fatal{end} }); err != end {
		t.Errorf("a fatal error gave %v", err)
	}
	asked := 0
	if err := n.Until(t.Context(), "three", func(context.Context) (bool, error) {
		asked++
		return asked == 3, nil
	}); err != nil || asked != 3 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = n.Until(ctx, "godot", func(context.Context) (bool, error) {
		cancel()
		return true, errors.New("not yet") // done only without an error
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "waiting for godot") ||
		!strings.Contains(err.Error(), "not yet") {
		t.Errorf("at the end of the context: %v", err)
	}
}

func TestDealsAreCompared(t *testing.T) {
	n, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	one, err := n.NewDeal("0", strings.NewReader("some bytes"))
	if err != nil || one.Size != 10 {
		t.Fatal(one, err)
	}
	for text, same := range map[string]bool{"some bytes": true, "some byteS": false, "some bytes!": false, "": false} {
		if err := os.WriteFile(one.Retrieved, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := one.compare(); (err == nil) != same {
			t.Errorf("%q: %v", text, err)
		}
	}
}
