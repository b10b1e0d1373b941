package main

import (
	"context"
	"errors"
	"os"

	"github.com/urfave/cli/v2"

	"quarry/api/client"
	"quarry/internal/command"
	"quarry/node/repo"
)

// infoFromRepo reads the API info of the node that runs in a repo.
func infoFromRepo(dir string) (string, error) {
	dir, err := repo.Expand(dir)
	if err != nil {
		return "", err
	}
	return repo.APIInfo(dir)
}

// minerInfo finds the private node: flag, then MINER_API_INFO, then the
// default repo. A flag beats the environment only where it was written.
func minerInfo(c *cli.Context) (string, error) {
	if env := os.Getenv("MINER_API_INFO"); env != "" && !command.Typed(c, flagMinerRepo) {
		return env, nil
	}
	return infoFromRepo(c.String(flagMinerRepo))
}

// marketsInfo finds the markets node: its own flag, environment or repo, and
// where none is configured the miner, which may run everything.
func marketsInfo(c *cli.Context) (string, error) {
	if command.Typed(c, flagMarketsRepo) {
		return infoFromRepo(c.String(flagMarketsRepo))
	}
	if env := os.Getenv("MARKETS_API_INFO"); env != "" {
		return env, nil
	}
	if repo := c.String(flagMarketsRepo); repo != "" {
		return infoFromRepo(repo)
	}
	return minerInfo(c)
}

// dialFunc connects to a process that the command line or the environment names.
type dialFunc func(*cli.Context) (*client.MinerAPI, error)

func dialMiner(c *cli.Context) (*client.MinerAPI, error)   { return dialWith(c, minerInfo) }
func dialMarkets(c *cli.Context) (*client.MinerAPI, error) { return dialWith(c, marketsInfo) }

// dialCommon is for commands that any node answers.
func dialCommon(c *cli.Context) (*client.MinerAPI, error) {
	if c.Bool(flagOnMarkets) {
		return dialMarkets(c)
	}
	return dialMiner(c)
}

func dialWith(c *cli.Context, find func(*cli.Context) (string, error)) (*client.MinerAPI, error) {
	info, err := find(c)
	if err != nil {
		return nil, err
	}
	return client.Miner(c.Context, client.Config{Info: info})
}

// fullNodeInfo finds the full node.
func fullNodeInfo() (string, error) {
	if env := os.Getenv("FULLNODE_API_INFO"); env != "" {
		return env, nil
	}
	return "", errors.New("no full node is named: set FULLNODE_API_INFO=token:address (miner-devnet prints that line when it starts)")
}

func dialChain(ctx context.Context) (*client.ChainAPI, error) {
	info, err := fullNodeInfo()
	if err != nil {
		return nil, err
	}
	return client.Chain(ctx, client.Config{Info: info})
}

// marketsNamed tells whether anything names a markets node of its own.
func marketsNamed(c *cli.Context) bool {
	return c.String(flagMarketsRepo) != "" || os.Getenv("MARKETS_API_INFO") != ""
}
