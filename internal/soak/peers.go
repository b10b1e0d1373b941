package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/apiinfo"
	"quarry/internal/secret"
	"quarry/internal/testnet"
)

// refusal is how long a process may take to refuse to start.
const refusal = time.Minute

// wrongPeers gives a markets node everybody's API info but the right one, and a
// private node a full node of another network.
func wrongPeers(ctx context.Context, r *run) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	other, proc, err := r.stranger(ctx)
	if err != nil {
		return err
	}
	defer other.Close()
	wrong, err := r.wrongInfos(ctx, other)
	if err != nil {
		return err
	}
	if err := r.MarketsProc.Stop(time.Minute); err != nil {
		return err
	}
	var errs []error
	for _, w := range wrong {
		if err := r.refusedPeer(ctx, w.name, w.info); err != nil {
			errs = append(errs, fmt.Errorf("a markets node that talks to %s: %w", w.name, err))
		}
	}
	errs = append(errs, r.withoutConfig(ctx))
	if err := errors.Join(append(errs, r.MarketsProc.Start())...); err != nil {
		return err
	}
	r.say("the right one again")
	if err := r.deal(ctx); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.crossed(ctx, other, proc); err != nil {
		return err
	}
	return r.otherNetwork(ctx)
}

// stranger is another miner on the same chain, running.
func (r *run) stranger(ctx context.Context) (*client.MinerAPI, *testnet.Proc, error) {
	port, err := testnet.FreePorts(1)
	if err != nil {
		return nil, nil, err
	}
	if _, err := r.InitMiner(ctx, "stranger", port[0]); err != nil {
		return nil, nil, err
	}
	p, err := r.RunMiner("stranger", "stranger")
	if err != nil {
		return nil, nil, err
	}
	a, err := r.Connect(ctx, "stranger")
	return a, p, err
}

type namedInfo struct{ name, info string }

func (r *run) wrongInfos(ctx context.Context, other *client.MinerAPI) ([]namedInfo, error) {
	token, err := other.AuthCreate(ctx, api.TokenRequest{Name: "soak", Role: api.RoleMarketsPeer})
	if err != nil {
		return nil, err
	}
	theirs, err := r.APIInfo("stranger")
	if err != nil {
		return nil, err
	}
	stranger, err := apiinfo.Parse(theirs)
	if err != nil {
		return nil, err
	}
	worker, err := r.TokenFor(ctx, api.RoleWorker, "markets")
	if err != nil {
		return nil, err
	}
	full, err := r.APIInfo("devnet")
	if err != nil {
		return nil, err
	}
	self, err := r.APIInfo("markets")
	return []namedInfo{
		{"another miner's private node", apiinfo.Format(secret.New(token), stranger.Address())},
		{"the right one with a worker's token", worker},
		{"a full node", full},
		{"itself", self},
	}, err
}

// refusedPeer requires a markets node with a wrong peer to end with a reason, or
// to count the peer as unreachable and say why.
func (r *run) refusedPeer(ctx context.Context, name, info string) error {
	id := "markets-with-" + strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "'", "")
	p, err := r.RunMarkets(id, "markets", "MINER_SUBSYSTEMS_SEALERAPIINFO="+info, "MINER_SUBSYSTEMS_SECTORINDEXAPIINFO="+info)
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, refusal*time.Duration(max(r.o.slack, 1)))
	defer cancel()
	ended, end := p.Exited(short)
	switch {
	case ended && end == nil:
		return errors.New("it ended without an error")
	case ended:
		r.say("%s: %s", name, lastLine(p))
		return nil
	}
	defer func() { _ = p.Stop(time.Minute) }()
	st, err := r.Markets.NodeStatus(ctx)
	if err != nil {
		return fmt.Errorf("it runs and does not tell its state: %w", err)
	}
	for _, peer := range st.Peers {
		if peer.Reachable || peer.LastError == "" {
			return fmt.Errorf("it runs, and %s is reachable %t, with %q", peer.Name, peer.Reachable, peer.LastError)
		}
		r.say("%s: %s", name, peer.LastError)
	}
	return nil
}

// withoutConfig requires a markets node whose config is gone, or a link to
// nowhere, not to start: with the default config it would be a miner.
func (r *run) withoutConfig(ctx context.Context) error {
	name := filepath.Join(r.Repo("markets"), "config.toml")
	if err := os.Rename(name, name+".kept"); err != nil {
		return err
	}
	start := func(name string) (*testnet.Proc, error) { return r.RunMarkets(name, "markets") }
	gone := r.refused(ctx, "markets-without-config", regexp.MustCompile("config"), start)
	linked := os.Symlink("nowhere", name)
	if linked == nil {
		linked = r.refused(ctx, "markets-with-dangling-config", regexp.MustCompile("config"), start)
	}
	return errors.Join(gone, linked, os.Rename(name+".kept", name))
}

// lastLine is what a process said last.
func lastLine(p *testnet.Proc) string {
	b, err := os.ReadFile(p.Log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// crossed lets the stranger take over the address of our private node while a
// deal comes in: it must get nothing, and the deal must wait for ours.
func (r *run) crossed(ctx context.Context, other *client.MinerAPI, p *testnet.Proc) error {
	if err := errors.Join(p.Stop(time.Minute), r.MinerProc.Kill()); err != nil {
		return err
	}
	r.say("the stranger listens where our private node did")
	p, err := r.RunMiner("stranger-there", "stranger", fmt.Sprintf("MINER_API_LISTENADDRESS=/ip4/127.0.0.1/tcp/%d/http", r.MinerPort()))
	if err != nil {
		return err
	}
	there, err := r.Connect(ctx, "stranger")
	if err != nil {
		return err
	}
	defer there.Close()
	if err := r.deal(ctx); err != nil {
		return err
	}
	if err := wait(ctx, 20*time.Second); err != nil {
		return err
	}
	sectors, err := there.SectorsList(ctx, 0, 0)
	if err != nil {
		return err
	}
	if len(sectors) > 0 {
		return fmt.Errorf("the stranger was given a piece: sector %d, %s", sectors[0].Sector.ID.Number, sectors[0].State)
	}
	if err := errors.Join(p.Stop(time.Minute), r.MinerProc.Start()); err != nil {
		return err
	}
	return r.settle(ctx)
}

// otherNetwork starts our private node with a full node of another chain.
func (r *run) otherNetwork(ctx context.Context) error {
	port, err := testnet.FreePorts(2)
	if err != nil {
		return err
	}
	if _, err := r.RunDevnet("other-devnet", port[0]); err != nil {
		return err
	}
	var info string
	if err := r.Until(ctx, "the other devnet", func(context.Context) (bool, error) {
		info, err = r.APIInfo("other-devnet")
		return err == nil, err
	}); err != nil {
		return err
	}
	if err := r.MinerProc.Kill(); err != nil {
		return err
	}
	if err := r.refused(ctx, "miner-of-another-network", regexp.MustCompile("network|genesis|chain"),
		func(name string) (*testnet.Proc, error) {
			return r.RunMiner(name, "miner", "FULLNODE_API_INFO="+info,
				fmt.Sprintf("MINER_API_LISTENADDRESS=/ip4/127.0.0.1/tcp/%d/http", port[1]))
		}); err != nil {
		return err
	}
	if err := r.MinerProc.Start(); err != nil {
		return err
	}
	return r.settle(ctx)
}

// refused requires a process to end with an error, and with words that give the
// reason meant: a port that is taken is none.
func (r *run) refused(ctx context.Context, name string, reason *regexp.Regexp, start func(name string) (*testnet.Proc, error)) error {
	p, err := start(name)
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, refusal*time.Duration(max(r.o.slack, 1)))
	defer cancel()
	ended, end := p.Exited(short)
	said := lastLine(p)
	switch {
	case !ended:
		return errors.Join(fmt.Errorf("%s was not refused; it says %q", name, said), p.Stop(time.Minute))
	case end == nil:
		return fmt.Errorf("%s ended without an error; it says %q", name, said)
	case !reason.MatchString(said):
		return fmt.Errorf("%s ended for another reason: %q", name, said)
	}
	r.say("%s: %s", name, said)
	return nil
}
