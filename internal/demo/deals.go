package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"quarry/api"
)

// deal is one file on its way.
type deal struct {
	file      string // what is stored
	sum       string // its sha256
	size      int64
	uuid      string
	root      string
	started   bool // its sector was told not to wait for more
	retrieved string
	last      api.DealInfo
	sector    api.SectorInfo
}

func (d *demo) propose(ctx context.Context) error {
	full, err := d.fullnode()
	if err != nil {
		return err
	}
	wallet, err := d.chain.WalletNew(ctx, api.KeySecp256k1)
	if err != nil {
		return fmt.Errorf("client key: %w", err)
	}
	if err := d.fund(ctx, wallet, 100); err != nil {
		return err
	}
	env := []string{full, "CLIENT_PATH=" + d.repo("client")}
	for _, one := range d.deals {
		var said struct {
			UUID string
			Root string
		}
		out, err := d.cmd(ctx, "miner-client", env, "deal", "--json", "--file", one.file, "--from", wallet.String(),
			"--until", "transferred", d.minerAddr)
		if err != nil {
			return err
		}
		if err := lastObject(out, &said); err != nil {
			return err
		}
		one.uuid, one.root = said.UUID, said.Root
		d.screen.note("deal %s", one.uuid)
	}
	return nil
}

// lastObject decodes the last JSON object a command printed: with --json the
// result comes after any progress.
func lastObject(out string, into any) error {
	dec := json.NewDecoder(strings.NewReader(out))
	for {
		err := dec.Decode(into)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the command's answer %q: %w", out, err)
		}
	}
}

// eachDeal waits until done holds for every deal.
func (d *demo) eachDeal(ctx context.Context, what string, done func(context.Context, *deal) (bool, error)) error {
	return d.until(ctx, what, func(ctx context.Context) (bool, error) {
		all := true
		for _, one := range d.deals {
			if err := d.refresh(ctx, one); err != nil {
				return false, err
			}
			ok, err := done(ctx, one)
			if err != nil {
				return false, err
			}
			all = all && ok
		}
		return all, nil
	})
}

// refresh reads a deal from the markets node. A deal that failed for good ends
// the run.
func (d *demo) refresh(ctx context.Context, one *deal) error {
	id, err := uuid.Parse(one.uuid)
	if err != nil {
		return err
	}
	info, err := d.markets.DealsGet(ctx, id, false)
	if err != nil {
		return err
	}
	if info.Retry == api.DealRetryFatal && info.Err != "" {
		return &fatal{fmt.Errorf("deal %s failed: %s", one.uuid, info.Err)}
	}
	one.last = info
	return nil
}

func (d *demo) waitPublished(ctx context.Context) error {
	return d.eachDeal(ctx, "the deals to be published", func(_ context.Context, one *deal) (bool, error) {
		d.screen.note("%s %d%%", one.last.Checkpoint, percent(one.last.Received, one.last.TransferSize))
		return published(one.last.Checkpoint), nil
	})
}

// published tells whether the deal's id on chain is known.
func published(c api.DealCheckpoint) bool {
	switch c {
	case api.DealPublishConfirmed, api.DealAddedPiece, api.DealIndexed, api.DealComplete:
		return true
	}
	return false
}

func percent(a, b uint64) uint64 {
	if b == 0 {
		return 0
	}
	return a * 100 / b
}

func (d *demo) waitActive(ctx context.Context) error {
	return d.eachDeal(ctx, "the deals to be active", func(ctx context.Context, one *deal) (bool, error) {
		if one.last.Placement == nil {
			return false, nil
		}
		number := one.last.Placement.Sector.Number
		if !one.started {
			// An operator in a hurry does not wait for more deals.
			err := d.miner.SectorStartSealing(ctx, number)
			var invalid *api.ErrInvalid
			one.started = err == nil || errors.As(err, &invalid)
		}
		s, err := d.miner.SectorsStatus(ctx, number, false)
		if err != nil {
			return false, err
		}
		one.sector = s
		note := string(s.State)
		if s.Task != nil {
			note += fmt.Sprintf(" %s %.0f%%", s.Task.Stage, s.Task.Percent)
		}
		if s.LastErr != "" {
			note += " (" + s.LastErr + ")"
		}
		if !one.last.OnChainActive {
			d.screen.note("sector %d: %s", number, note)
		}
		return one.last.OnChainActive, nil
	})
}

func (d *demo) retrieve(ctx context.Context) error {
	full, err := d.fullnode()
	if err != nil {
		return err
	}
	for i, one := range d.deals {
		one.retrieved = filepath.Join(d.dir, fmt.Sprintf("retrieved-%d", i))
		err := d.until(ctx, "the retrieval", func(ctx context.Context) (bool, error) {
			_, err := d.cmd(ctx, "miner-client", []string{full, "CLIENT_PATH=" + d.repo("client")}, "retrieve",
				"--url", fmt.Sprintf("http://127.0.0.1:%d", d.ports.retrieval), "--output", one.retrieved, one.root)
			return err == nil, err
		})
		if err != nil {
			return err
		}
		if err := one.compare(); err != nil {
			return err
		}
		d.screen.note("%d bytes equal", one.size)
	}
	return nil
}

// compare requires that what came back is what was given away.
func (one *deal) compare() error {
	f, err := os.Open(one.retrieved)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != one.sum || n != one.size {
		return fmt.Errorf("the retrieved file differs: %d bytes sha256 %s, want %d bytes %s", n, sum, one.size, one.sum)
	}
	return nil
}
