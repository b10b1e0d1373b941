package main

import (
	"bytes"
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
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"

	"quarry/api"
	"quarry/api/client"
)

// proofsWanted is how often the sector must be proven on chain before the
// story ends.
const proofsWanted = 2

// story is the demo from beginning to end.
func (d *demo) story(ctx context.Context) error {
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"start the devnet", d.startDevnet},
		{"create a miner on chain", d.createMiner},
		{"start miner, markets, worker", d.startNodes},
		{"client proposes a deal", d.propose},
		{"transfer and publish", d.waitPublished},
		{"seal and activate", d.waitActive},
		{"retrieve and compare", d.retrieve},
		{"prove on chain, win a block", d.waitProven},
	}
	chaosCtx, stopChaos := context.WithCancel(ctx)
	defer stopChaos()
	chaosDone := make(chan error, 1)
	for i, s := range steps {
		d.screen.begin(s.name)
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if i == 3 && d.o.chaos {
			go func() { chaosDone <- d.chaos(chaosCtx) }()
		}
	}
	stopChaos()
	if d.o.chaos {
		return <-chaosDone
	}
	return nil
}

func (d *demo) startDevnet(ctx context.Context) (err error) {
	d.devnetProc, err = d.procs.start("devnet", filepath.Join(d.o.bin, "miner-devnet"), []string{
		"--repo", d.repo("devnet"), "run", "--listen", fmt.Sprintf("127.0.0.1:%d", d.ports.devnet), "--sector-size", "8MiB",
	}, nil)
	if err != nil {
		return err
	}
	var info string
	if err := d.until(ctx, "the devnet's API", func(context.Context) (bool, error) {
		info, err = d.apiInfo("devnet")
		return err == nil, err
	}); err != nil {
		return err
	}
	if d.chain, err = client.Chain(ctx, client.Config{Info: info}); err != nil {
		return err
	}
	return d.until(ctx, "the first epochs", func(ctx context.Context) (bool, error) {
		h, err := d.chain.ChainHead(ctx)
		if err != nil {
			return false, err
		}
		d.screen.note("epoch %d", h.Height)
		return h.Height >= 2, nil
	})
}

func (d *demo) fullnode() (string, error) {
	info, err := d.apiInfo("devnet")
	return "FULLNODE_API_INFO=" + info, err
}

func (d *demo) createMiner(ctx context.Context) error {
	full, err := d.fullnode()
	if err != nil {
		return err
	}
	owner, err := d.chain.WalletNew(ctx, api.KeyBLS)
	if err != nil {
		return fmt.Errorf("new owner key: %w", err)
	}
	d.owner = owner.String()
	if err := d.fund(ctx, owner, 1000); err != nil {
		return err
	}
	if _, err := d.cmd(ctx, "miner", []string{full}, "--miner-repo", d.repo("miner"), "init",
		"--owner", d.owner, "--sector-size", "8MiB",
		"--listen", fmt.Sprintf("127.0.0.1:%d", d.ports.miner)); err != nil {
		return err
	}
	return nil
}

// fund sends whole FIL from the devnet's faucet and waits for them.
func (d *demo) fund(ctx context.Context, to address.Address, fil int64) error {
	amount := abi.NewTokenAmount(fil)
	amount.Mul(amount.Int, abi.NewTokenAmount(1e18).Int)
	if _, err := d.chain.DevnetFund(ctx, to, amount); err != nil {
		return fmt.Errorf("fund %s: %w", to, err)
	}
	return d.until(ctx, "funds of "+to.String(), func(ctx context.Context) (bool, error) {
		b, err := d.chain.WalletBalance(ctx, to)
		return err == nil && b.Sign() > 0, err
	})
}

func (d *demo) startNodes(ctx context.Context) error {
	full, err := d.fullnode()
	if err != nil {
		return err
	}
	d.minerProc, err = d.procs.start("miner", filepath.Join(d.o.bin, "miner"),
		[]string{"--miner-repo", d.repo("miner"), "run"},
		[]string{full, "MINER_SUBSYSTEMS_ENABLEMARKETS=false"})
	if err != nil {
		return err
	}
	if d.miner, err = d.connect(ctx, "miner"); err != nil {
		return err
	}
	if d.minerAddr, err = d.miner.ActorAddress(ctx); err != nil {
		return fmt.Errorf("miner address: %w", err)
	}
	marketsInfo, err := d.tokenFor(ctx, api.RoleMarketsPeer)
	if err != nil {
		return err
	}
	workerInfo, err := d.tokenFor(ctx, api.RoleWorker)
	if err != nil {
		return err
	}
	if _, err := d.cmd(ctx, "miner", []string{full}, "--markets-repo", d.repo("markets"), "init", "service", "--type=markets",
		"--api-sealer", marketsInfo, "--api-sector-index", marketsInfo,
		"--listen", fmt.Sprintf("127.0.0.1:%d", d.ports.markets),
		"--libp2p-listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", d.ports.libp2p),
		"--retrieval-listen", fmt.Sprintf("127.0.0.1:%d", d.ports.retrieval),
		"--publish-peer-info"); err != nil {
		return err
	}
	d.marketsProc, err = d.procs.start("markets", filepath.Join(d.o.bin, "miner"),
		[]string{"--miner-repo", d.repo("markets"), "run"},
		[]string{full, "MINER_DEALMAKING_ALLOWPRIVATEIPS=true"})
	if err != nil {
		return err
	}
	if d.markets, err = d.connect(ctx, "markets"); err != nil {
		return err
	}
	d.workerProc, err = d.procs.start("worker", filepath.Join(d.o.bin, "miner-worker"),
		[]string{"--worker-repo", d.repo("worker"), "run", "--listen", fmt.Sprintf("127.0.0.1:%d", d.ports.worker)},
		[]string{"MINER_API_INFO=" + workerInfo})
	if err != nil {
		return err
	}
	return d.until(ctx, "the worker", func(ctx context.Context) (bool, error) {
		ws, err := d.miner.WorkerList(ctx)
		d.screen.note("%s, %d workers", d.minerAddr, len(ws))
		return len(ws) >= 2, err
	})
}

// connect waits for a node's API and returns a client with its own token.
func (d *demo) connect(ctx context.Context, repo string) (*client.MinerAPI, error) {
	var api *client.MinerAPI
	err := d.until(ctx, "the API of "+repo, func(ctx context.Context) (bool, error) {
		info, err := d.apiInfo(repo)
		if err != nil {
			return false, err
		}
		c, err := client.Miner(ctx, client.Config{Info: info})
		if err != nil {
			return false, err
		}
		if _, err := c.Version(ctx); err != nil {
			c.Close()
			return false, err
		}
		api = c
		return true, nil
	})
	return api, err
}

// tokenFor makes a token that carries no more than the role needs.
func (d *demo) tokenFor(ctx context.Context, role api.Role) (string, error) {
	token, err := d.miner.AuthCreate(ctx, api.TokenRequest{Name: "demo " + string(role), Role: role})
	if err != nil {
		return "", fmt.Errorf("token for %s: %w", role, err)
	}
	addr, err := os.ReadFile(filepath.Join(d.repo("miner"), "api"))
	if err != nil {
		return "", err
	}
	return token + ":" + string(bytes.TrimSpace(addr)), nil
}

func (d *demo) propose(ctx context.Context) error {
	full, err := d.fullnode()
	if err != nil {
		return err
	}
	env := []string{full, "CLIENT_PATH=" + d.repo("client")}
	wallet, err := d.chain.WalletNew(ctx, api.KeySecp256k1)
	if err != nil {
		return fmt.Errorf("client key: %w", err)
	}
	if err := d.fund(ctx, wallet, 100); err != nil {
		return err
	}
	var deal struct {
		UUID string
		Root string
	}
	out, err := d.cmd(ctx, "miner-client", env, "deal", "--json", "--file", d.file, "--from", wallet.String(),
		"--until", "transferred", d.minerAddr)
	if err != nil {
		return err
	}
	if err := lastObject(out, &deal); err != nil {
		return err
	}
	d.dealUUID, d.root = deal.UUID, deal.Root
	d.screen.note("deal %s", d.dealUUID)
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

func (d *demo) waitPublished(ctx context.Context) error {
	return d.until(ctx, "the deal to be published", func(ctx context.Context) (bool, error) {
		deal, err := d.deal(ctx)
		if err != nil {
			return false, err
		}
		d.screen.note("%s %d%%", deal.Checkpoint, percent(deal.Received, deal.TransferSize))
		return published(deal.Checkpoint), nil
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

func (d *demo) deal(ctx context.Context) (api.DealInfo, error) {
	id, err := uuid.Parse(d.dealUUID)
	if err != nil {
		return api.DealInfo{}, err
	}
	deal, err := d.markets.DealsGet(ctx, id, false)
	if err != nil {
		return deal, err
	}
	if deal.Retry == api.DealRetryFatal && deal.Err != "" {
		return deal, fmt.Errorf("deal failed: %s", deal.Err)
	}
	d.lastDeal = deal
	return deal, nil
}

func (d *demo) waitActive(ctx context.Context) error {
	started := false
	return d.until(ctx, "the deal to be active", func(ctx context.Context) (bool, error) {
		deal, err := d.deal(ctx)
		if err != nil || deal.Placement == nil {
			return false, err
		}
		if !started {
			// The sector holds one deal; an operator in a hurry does not wait for more.
			err := d.miner.SectorStartSealing(ctx, deal.Placement.Sector.Number)
			var invalid *api.ErrInvalid
			started = err == nil || errors.As(err, &invalid)
		}
		s, err := d.miner.SectorsStatus(ctx, deal.Placement.Sector.Number, false)
		if err != nil {
			return false, err
		}
		d.lastSector = s
		note := string(s.State)
		if s.Task != nil {
			note += fmt.Sprintf(" %s %.0f%%", s.Task.Stage, s.Task.Percent)
		}
		if s.LastErr != "" {
			note += " (" + s.LastErr + ")"
		}
		d.screen.note("sector %d: %s", s.Sector.ID.Number, note)
		return deal.OnChainActive, nil
	})
}

func (d *demo) retrieve(ctx context.Context) error {
	full, err := d.fullnode()
	if err != nil {
		return err
	}
	d.retrieved = filepath.Join(d.dir, "retrieved")
	err = d.until(ctx, "the retrieval", func(ctx context.Context) (bool, error) {
		_, err := d.cmd(ctx, "miner-client", []string{full, "CLIENT_PATH=" + d.repo("client")}, "retrieve",
			"--url", fmt.Sprintf("http://127.0.0.1:%d", d.ports.retrieval), "--output", d.retrieved, d.root)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	f, err := os.Open(d.retrieved)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != d.fileSum || n != d.fileSize {
		return fmt.Errorf("the retrieved file differs: %d bytes sha256 %s, want %d bytes %s", n, sum, d.fileSize, d.fileSum)
	}
	d.screen.note("%d bytes equal", n)
	return nil
}

// waitProven lets chain time run fast wherever nobody has anything to do.
func (d *demo) waitProven(ctx context.Context) error {
	return d.until(ctx, "window PoSts and a block", func(ctx context.Context) (bool, error) {
		p, err := d.miner.ProvingStatus(ctx)
		if err != nil {
			return false, err
		}
		m, err := d.miner.MiningStatus(ctx)
		if err != nil {
			return false, err
		}
		d.lastProving, d.lastMining = p, m
		head, err := d.chain.ChainHead(ctx)
		if err != nil {
			return false, err
		}
		d.screen.note("epoch %d, %d window PoSts accepted, %d blocks won", head.Height/10*10, p.Accepted, m.BlocksWon)
		if d.lastSector, err = d.miner.SectorsStatus(ctx, d.lastSector.Sector.ID.Number, false); err != nil {
			return false, err
		}
		if p.Accepted >= proofsWanted && m.BlocksWon >= 1 && d.lastSector.State == api.SectorProving {
			return true, d.checkChain(ctx)
		}
		if p.Accepted < proofsWanted {
			short, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, err = d.chain.DevnetWarp(short, 2880, false)
		}
		return false, err
	})
}

// checkChain asks the chain itself, not our own nodes, for what the summary
// claims.
func (d *demo) checkChain(ctx context.Context) error {
	maddr, err := address.NewFromString(d.minerAddr)
	if err != nil {
		return err
	}
	deal, err := d.chain.StateMarketStorageDeal(ctx, d.lastDeal.ChainDealID, nil)
	if err != nil {
		return fmt.Errorf("deal %d on chain: %w", d.lastDeal.ChainDealID, err)
	}
	if deal.State.SectorStartEpoch < 0 {
		return fmt.Errorf("deal %d is not active on chain", d.lastDeal.ChainDealID)
	}
	count, err := d.chain.StateMinerSectorCount(ctx, maddr, nil)
	if err != nil {
		return err
	}
	if count.Active == 0 || count.Faulty != 0 {
		return fmt.Errorf("sectors on chain: %d active, %d faulty; want all active", count.Active, count.Faulty)
	}
	d.onChainSectors = count
	return nil
}
