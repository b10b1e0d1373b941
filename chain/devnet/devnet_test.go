package devnet

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
	"quarry/chain/fvm"
	"quarry/chain/wallet"
)

var (
	engineOnce sync.Once
	engine     *fvm.Engine
	engineErr  error
)

func testEngine(t testing.TB) *fvm.Engine {
	t.Helper()
	engineOnce.Do(func() {
		engine, engineErr = fvm.NewEngine(context.Background(), fvm.EngineConfig{CacheDir: os.TempDir() + "/quarry-test-actors"})
	})
	if engineErr != nil {
		t.Fatal(engineErr)
	}
	return engine
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// fixture is a devnet repo in memory.
type fixture struct {
	ds  datastore.Batching
	w   *wallet.Wallet
	dir string
}

func newFixture(t testing.TB, seed string) *fixture {
	t.Helper()
	f := &fixture{ds: dssync.MutexWrap(datastore.NewMapDatastore()), dir: t.TempDir()}
	w, err := wallet.New(wallet.Deps{Keystore: wallet.DatastoreKeystore{DS: dssync.MutexWrap(datastore.NewMapDatastore())}})
	if err != nil {
		t.Fatal(err)
	}
	f.w = w
	e := testEngine(t)
	err = Init(t.Context(), InitConfig{
		Seed:      []byte(seed),
		Timestamp: 1_700_000_000,
		SealProof: abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		Sectors:   2,
		SectorDir: f.dir,
	}, InitDeps{
		Store:    f.ds,
		Wallet:   w,
		Engine:   e,
		Manifest: e.Bundle().Manifest,
		Blocks: func(put func(cid.Cid, []byte) error) error {
			for _, b := range e.Bundle().Blocks {
				if err := put(b.Cid, b.Data); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) open(t testing.TB) *Node {
	t.Helper()
	n, err := New(t.Context(), Config{Pace: 20 * time.Millisecond, SectorDir: f.dir, Mine: true},
		Deps{Store: f.ds, Wallet: f.w, Engine: testEngine(t), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// step closes epochs one by one.
func step(t testing.TB, n *Node, epochs int) {
	t.Helper()
	for range epochs {
		if err := n.closeEpoch(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
}

func fil(n int64) abi.TokenAmount { return big.Mul(big.NewInt(n), big.NewInt(1e18)) }

func TestTicksFromGenesis(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 30)
	head := n.ledger.Head()
	if head.Height < 25 || n.Epoch() != 30 {
		t.Fatalf("head at %d, epoch %d", head.Height, n.Epoch())
	}
	if _, err := n.nowView(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSend(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 1)
	to, err := n.WalletNew(t.Context(), api.KeyBLS)
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.DevnetFund(t.Context(), to, fil(7))
	if err != nil {
		t.Fatal(err)
	}
	step(t, n, 3)
	l, err := n.StateSearchMsg(t.Context(), nil, c, -1, true)
	if err != nil || l == nil || l.Receipt.ExitCode != 0 {
		t.Fatalf("lookup %+v, %v", l, err)
	}
	if b, err := n.WalletBalance(t.Context(), to); err != nil || !b.Equals(fil(7)) {
		t.Fatalf("balance %s, %v", b, err)
	}
}
