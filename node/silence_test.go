package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
	"quarry/chain/devnet"
	"quarry/chain/heads"
	"quarry/mining/blocks"
	"quarry/proofs/porep"
	"quarry/proofs/post"
)

// sectorFiles reads the cache directory of a sector.
type sectorFiles string

type sectorFile struct{ *os.File }

func (f sectorFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (d sectorFiles) Create(string, int64) (porep.File, error) { return nil, os.ErrPermission }
func (d sectorFiles) Remove(string) error                      { return os.ErrPermission }
func (d sectorFiles) List() ([]string, error)                  { return nil, os.ErrPermission }
func (d sectorFiles) Open(name string) (porep.File, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.Base(name)))
	if err != nil {
		return nil, err
	}
	return sectorFile{f}, nil
}

// presealed proves the genesis sectors of a devnet from outside of it.
type presealed string

func (d presealed) ProveWinning(ctx context.Context, r api.WinningPoStRequest) ([]byte, error) {
	s := r.Sectors[0]
	dir := filepath.Join(string(d), api.SectorName(abi.SectorID{Miner: r.Miner, Number: s.SectorNumber}))
	f, err := os.Open(filepath.Join(dir, "sealed"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return post.ProveWinning(ctx, r.Miner, r.Randomness, []post.SectorAccess{{Sealed: f, Cache: sectorFiles(filepath.Join(dir, "cache")),
		Info: proof.SectorInfo{SealProof: s.SealProof, SectorNumber: s.SectorNumber, SealedCID: s.SealedCID}}})
}

// The only miner of a network was away for more than a hundred epochs: when it is
// back it goes on with null rounds at once, in the epoch that is open. Epochs pass
// only when the test says so.
func TestOnlyMinerOfANetworkGoesOnAfterASilence(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a chain")
	}
	f := newFullNode(t)
	f.stop()
	e, err := testEngine()
	if err != nil {
		t.Fatal(err)
	}
	n, err := devnet.New(t.Context(), devnet.Config{Pace: time.Hour, SectorDir: f.dir},
		devnet.Deps{Store: f.ds, Wallet: f.w, Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	g.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer func() {
		cancel()
		g.Wait()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := n.DevnetWarp(ctx, 130, true); err != nil {
		t.Fatal(err)
	}
	before, err := n.ChainHead(ctx)
	if err != nil || n.Epoch()-before.Height < 130 {
		t.Fatalf("head %d at epoch %d, %v", before.Height, n.Epoch(), err)
	}
	clock, err := learnEpochs(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	follower := heads.New(heads.Config{}, heads.Deps{Chain: n})
	p, err := blocks.New(blocks.Config{Miner: n.Params().Miner, EpochWall: clock.wall(), OpenEpoch: clock.openEpoch()},
		blocks.Deps{Store: dssync.MutexWrap(datastore.NewMapDatastore()), Chain: n, Prover: presealed(f.dir), Heads: follower})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{follower.Run, p.Run} {
		g.Go(func() {
			if err := run(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	open := n.Epoch() + 1
	eventually(t, "a block after the silence", func() bool { return p.Status().BlocksWon > 0 })
	if _, err := n.DevnetWarp(ctx, 1, true); err != nil {
		t.Fatal(err)
	}
	after, err := n.ChainHead(ctx)
	if err != nil || after.Height != open || !after.Parents().Equal(before.Key()) {
		t.Errorf("the head is at %d on %s, want the open epoch %d on the head before: %v", after.Height, after.Parents(), open, err)
	}
}
