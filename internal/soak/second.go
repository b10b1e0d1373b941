package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"quarry/internal/testnet"
)

// elsewhereEnv lets a second process listen beside the first.
var elsewhereEnv = []string{
	"MINER_API_LISTENADDRESS=/ip4/127.0.0.1/tcp/0/http",
	"MINER_LIBP2P_LISTENADDRESSES=/ip4/127.0.0.1/tcp/0",
	"MINER_LIBP2P_ANNOUNCEADDRESSES=",
	"MINER_DEALMAKING_RETRIEVALLISTENADDRESS=127.0.0.1:0",
}

// holder is in the words of all who refuse to be the second: whose it is.
var holder = regexp.MustCompile(`process \d+`)

// copyRepo is cp -a: also the modes are those of the repo, which is careful of
// them.
func copyRepo(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), info.Mode().Perm())
		case !d.Type().IsRegular():
			return nil // sockets of the running process
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, info.Mode().Perm())
	})
}

// secondProcess starts everything twice: from the same repo, and from a copy.
func secondProcess(ctx context.Context, r *run) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.deal(ctx); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	var errs []error
	for _, repo := range []string{"miner", "markets"} {
		if err := copyRepo(r.Repo(repo+"-copy"), r.Repo(repo)); err != nil {
			return err
		}
		for _, from := range []string{repo, repo + "-copy"} {
			errs = append(errs, r.refused(ctx, "second-"+from, holder, func(name string) (*testnet.Proc, error) {
				if repo == "miner" {
					return r.RunMiner(name, from, elsewhereEnv...)
				}
				return r.RunMarkets(name, from, elsewhereEnv...)
			}))
		}
	}
	errs = append(errs, r.secondWorker(ctx))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := r.deal(ctx); err != nil { // the first ones have not suffered
		return err
	}
	return r.settle(ctx)
}

// secondWorker requires a copy of a worker to end, or to get no work, while the
// first one lives.
func (r *run) secondWorker(ctx context.Context) error {
	if err := copyRepo(r.Repo("worker-copy"), r.Repo("worker")); err != nil {
		return err
	}
	p, err := r.RunWorker(ctx, "second-worker", "worker-copy")
	if err != nil {
		return err
	}
	defer func() { _ = p.Stop(time.Minute) }()
	short, cancel := context.WithTimeout(ctx, refusal)
	defer cancel()
	ended, end := p.Exited(short)
	if ended && (end == nil || !holder.MatchString(lastLine(p))) {
		return fmt.Errorf("a copy of the worker's repo ended with %v, and does not name the first: %s", end, lastLine(p))
	}
	if !ended {
		if err := r.pledges(ctx, 2); err != nil {
			return err
		}
	}
	did, err := events(p)
	if err != nil {
		return err
	}
	if len(did) > 0 {
		return fmt.Errorf("a copy of the worker's repo was given %d tasks while the first worker lived", len(did))
	}
	r.say("the copy of the worker says: %s", lastLine(p))
	return nil
}
