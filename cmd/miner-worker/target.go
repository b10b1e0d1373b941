package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/urfave/cli/v2"

	"quarry/api/client"
	"quarry/internal/apiinfo"
	"quarry/node/repo"
)

// minerInfo finds the private node: flag or environment, then a repo.
func minerInfo(c *cli.Context) (string, error) {
	if s, err := apiinfo.Given(c.App.ErrWriter, flagMinerInfo, c.String(flagMinerInfo)); err != nil || s != "" {
		return s, err
	}
	if s, err := apiinfo.Env("MINER_API_INFO"); err != nil || s != "" {
		return s, err
	}
	if dir := c.String(flagMinerRepo); dir != "" {
		dir, err := repo.Expand(dir)
		if err != nil {
			return "", err
		}
		return repo.APIInfo(dir)
	}
	return "", fmt.Errorf("which private node? give --%s or MINER_API_INFO (made there with `miner auth api-info`), or --%s",
		flagMinerInfo, flagMinerRepo)
}

func dialMiner(c *cli.Context) (*client.MinerAPI, error) {
	info, err := minerInfo(c)
	if err != nil {
		return nil, err
	}
	return client.Miner(c.Context, client.Config{Info: info, Name: "the private node", Terminal: !c.Bool(flagJSON)})
}

// dialSelf connects to the worker that runs on the repo.
func dialSelf(c *cli.Context) (*client.MinerAPI, error) {
	dir, err := repo.Expand(c.String(flagRepo))
	if err != nil {
		return nil, err
	}
	info, err := repo.APIInfo(dir)
	if err != nil {
		return nil, fmt.Errorf("no worker is running in %s: %w (start it with `miner-worker run`)", dir, err)
	}
	return client.Miner(c.Context, client.Config{Info: info, Name: "this worker", Terminal: !c.Bool(flagJSON)})
}

// ownURL is the base address that other processes reach this worker under. A
// worker that listens on every address is reached on the one it would use to
// talk to the private node.
func ownURL(ctx context.Context, bound, minerBase string) (string, error) {
	host, port, err := net.SplitHostPort(bound)
	if err != nil {
		return "", fmt.Errorf("listen address %s: %w", bound, err)
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return "http://" + net.JoinHostPort(host, port), nil
	}
	u, err := url.Parse(minerBase)
	if err != nil {
		return "", errors.New("address of the private node does not parse")
	}
	minerPort := u.Port()
	if minerPort == "" {
		minerPort = "80"
	}
	// No packet is sent: connecting a datagram socket only picks a route.
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(u.Hostname(), minerPort))
	if err != nil {
		return "", fmt.Errorf("find the address that the private node can reach this worker at: %w (give --url)", err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	host, _, err = net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return "", fmt.Errorf("own address: %w (give --url)", err)
	}
	return "http://" + net.JoinHostPort(host, port), nil
}
