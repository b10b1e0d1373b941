package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quarry/api"
	"quarry/api/client"
)

// maxFile is what fits an 8 MiB sector with room for the CAR around it:
// 8 MiB of sector hold 127/128 of that in payload, and a power-of-two piece of
// 8 MiB is the largest that fits.
const maxFile = 7 << 20

// defaultFile is how much of the miner binary is stored when no file is given.
const defaultFile = 5 << 20

// ports of the processes, all on the loopback address.
type ports struct {
	devnet, miner, markets, retrieval, libp2p, worker int
}

// demo is one run.
type demo struct {
	o      options
	dir    string
	logs   string
	ports  ports
	procs  *supervisor
	screen *screen

	chain   *client.ChainAPI
	miner   *client.MinerAPI
	markets *client.MinerAPI

	devnetProc, minerProc, marketsProc, workerProc *proc

	minerAddr   string // f0...
	owner       string
	file        string // what is stored
	fileSum     string
	fileSize    int64
	root        string
	dealUUID    string
	retrieved   string
	started     time.Time
	lastDeal    api.DealInfo
	lastSector  api.SectorInfo
	lastProving api.ProvingStatus
	lastMining  api.MiningStatus

	onChainSectors api.MinerSectors
}

func newDemo(o options) (*demo, error) {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty %s: %w", dir, err)
	}
	d := &demo{o: o, dir: dir, logs: filepath.Join(dir, "logs"), screen: newScreen(), started: time.Now()}
	if err := os.MkdirAll(d.logs, 0o755); err != nil {
		return nil, err
	}
	d.procs = &supervisor{logs: d.logs}
	p, err := freePorts(6)
	if err != nil {
		return nil, err
	}
	d.ports = ports{p[0], p[1], p[2], p[3], p[4], p[5]}
	return d, d.prepareFile()
}

// prepareFile copies what will be stored into the run's directory, so that the
// comparison at the end is with bytes nobody changed meanwhile.
func (d *demo) prepareFile() error {
	src, limit := d.o.file, int64(maxFile)
	if src == "" {
		src, limit = filepath.Join(d.o.bin, "miner"), defaultFile
	}
	in, err := os.Open(src)
	if err != nil {
		return fmt.Errorf("open the file to store: %w", err)
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if d.o.file != "" && st.Size() > maxFile {
		return fmt.Errorf("%s has %d bytes; one 8 MiB sector takes files up to %d bytes", src, st.Size(), maxFile)
	}
	d.file = filepath.Join(d.dir, "original")
	out, err := os.Create(d.file)
	if err != nil {
		return err
	}
	defer out.Close()
	h := sha256.New()
	if d.fileSize, err = io.Copy(io.MultiWriter(out, h), io.LimitReader(in, limit)); err != nil {
		return fmt.Errorf("copy %s: %w", src, err)
	}
	d.fileSum = hex.EncodeToString(h.Sum(nil))
	return out.Close()
}

// paths of the repos.
func (d *demo) repo(name string) string { return filepath.Join(d.dir, name) }

// apiInfo reads token and address of a running node from its repo.
func (d *demo) apiInfo(repo string) (string, error) {
	token, err := os.ReadFile(filepath.Join(d.repo(repo), "token"))
	if err != nil {
		return "", err
	}
	addr, err := os.ReadFile(filepath.Join(d.repo(repo), "api"))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(token)) + ":" + strings.TrimSpace(string(addr)), nil
}

// cmd runs one of our commands to its end.
func (d *demo) cmd(ctx context.Context, name string, env []string, args ...string) (string, error) {
	out, err := command(ctx, d.logs, filepath.Join(d.o.bin, name), env, args...)
	return strings.TrimSpace(string(out)), err
}

// until polls cond until it says done; it also watches that no process died.
func (d *demo) until(ctx context.Context, what string, cond func(context.Context) (bool, error)) error {
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		done, err := cond(ctx)
		switch {
		case done:
			return nil
		case err != nil:
			last = err
		}
		for _, p := range []*proc{d.devnetProc, d.minerProc, d.marketsProc, d.workerProc} {
			if p == nil {
				continue
			}
			if err := p.dead(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last error: %v)", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
