package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/api/client"
)

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
		"--owner", d.owner, "--sector-size", d.o.sectorSize,
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
		[]string{full, "MINER_SUBSYSTEMS_ENABLEMARKETS=false", "MINER_PROVING_FORM=" + d.o.form})
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
		append([]string{full, "MINER_DEALMAKING_ALLOWPRIVATEIPS=true"}, d.o.marketsEnv...))
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
