package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/filecoin-project/go-address"

	"quarry/internal/testnet"
)

// world is a network of our processes with one deal in it.
type world struct {
	*testnet.Network
	deal *testnet.Deal
}

func newWorld(o options) (*world, error) {
	n, err := testnet.New(testnet.Config{Bin: o.bin, Dir: o.dir, SectorSize: "2KiB", WorkerPath: true})
	if err != nil {
		return nil, err
	}
	w := &world{Network: n}
	w.deal, err = n.NewDeal("0", io.LimitReader(rand.Reader, 1400))
	return w, err
}

// begin brings the network as far as a proven deal.
func (w *world) begin(ctx context.Context) error {
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"start the devnet", w.StartDevnet},
		{"create a miner", w.CreateMiner},
		{"start the nodes", w.StartNodes},
		{"make a deal", w.makeDeal},
		{"prove it", w.works},
	} {
		fmt.Println("         " + step.name)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (w *world) makeDeal(ctx context.Context) error {
	wallet, err := w.NewClient(ctx)
	if err != nil {
		return err
	}
	if err := w.Propose(ctx, wallet, w.deal); err != nil {
		return err
	}
	return w.Until(ctx, "the deal to be active", func(ctx context.Context) (bool, error) {
		if err := w.Refresh(ctx, w.deal); err != nil {
			return false, err
		}
		return w.Active(ctx, w.deal)
	})
}

// attacked is one round of everything.
func (w *world) attacked(ctx context.Context, o options) (outcome, error) {
	t, err := w.target(ctx)
	if err != nil {
		return outcome{}, err
	}
	miner, err := address.NewFromString(w.MinerAddr)
	if err != nil {
		return outcome{}, err
	}
	t.Patience = o.patience
	a, err := newAttack(t)
	if err != nil {
		return outcome{}, err
	}
	defer a.close()
	return run(ctx, os.Stdout, append(a.groups(o.sockets), group{"libp2p", streams(w.Chain, miner)}))
}

// target names what is attacked: the worker has a path, the private node the files.
func (w *world) target(ctx context.Context) (target, error) {
	t := target{
		Private:     w.Miner.Info().Base(),
		Sector:      w.deal.Sector.Sector.ID,
		MarketsRepo: w.Repo("markets"),
		Judge:       w.Miner,
	}
	list, err := w.Miner.StorageList(ctx)
	if err != nil {
		return t, err
	}
	for _, p := range list {
		if i := slices.IndexFunc(p.URLs, func(u string) bool { return u != t.Private+"/remote" }); i >= 0 {
			t.Worker, t.WorkerPath = p.URLs[i][:len(p.URLs[i])-len("/remote")], p.ID
		}
	}
	if t.Worker == "" {
		return t, errors.New("no worker has a path")
	}
	return t, nil
}

// provingPeriod of the devnet's network, epochs (its miner policy).
const provingPeriod = 2880

// works requires that the file comes back and that a further window PoSt is
// accepted, without a fault.
func (w *world) works(ctx context.Context) error {
	_ = os.Remove(w.deal.Retrieved) // of an earlier time; a client overwrites nothing
	if err := w.Retrieve(ctx, w.deal); err != nil {
		return err
	}
	before, err := w.Miner.ProvingStatus(ctx)
	if err != nil {
		return err
	}
	if err := w.Until(ctx, "another window PoSt", func(ctx context.Context) (bool, error) {
		p, err := w.Miner.ProvingStatus(ctx)
		if err != nil || p.Accepted > before.Accepted {
			return err == nil, err
		}
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err = w.Chain.DevnetWarp(short, provingPeriod, false)
		return false, err
	}); err != nil {
		return err
	}
	miner, err := address.NewFromString(w.MinerAddr)
	if err != nil {
		return err
	}
	count, err := w.Chain.StateMinerSectorCount(ctx, miner, nil)
	if err == nil && (count.Active == 0 || count.Faulty != 0) {
		err = fmt.Errorf("%d sectors are active, %d faulty", count.Active, count.Faulty)
	}
	return err
}
