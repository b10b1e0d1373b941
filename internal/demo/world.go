package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quarry/api"
	"quarry/api/client"
)

// sizes of one devnet sector: what fits it with room for the CAR around it.
// 8 MiB of sector hold 127/128 of that in payload, and a piece is a power of
// two.
type sizes struct {
	maxFile     int64
	defaultFile int64 // how much is stored when no file is given
}

var sectorSizes = map[string]sizes{
	"2KiB": {1500, 1400},
	"8MiB": {7 << 20, 5 << 20},
}

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
	deals       []*deal
	started     time.Time
	lastProving api.ProvingStatus
	lastMining  api.MiningStatus

	onChainSectors api.MinerSectors

	before uint64        // window PoSts accepted before the deal
	pace   time.Duration // set by slowDown
	slowed time.Time
}

func newDemo(o options) (*demo, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
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
	return d, d.prepareFiles()
}

// prepareFiles copies what will be stored into the run's directory, so that the
// comparison at the end is with bytes nobody changed meanwhile. Without a file
// of the user's, consecutive parts of the miner binary are stored.
func (d *demo) prepareFiles() error {
	size, ok := sectorSizes[d.o.sectorSize]
	if !ok {
		return fmt.Errorf("sector size %q: the devnet knows 2KiB and 8MiB", d.o.sectorSize)
	}
	src, limit := d.o.file, size.maxFile
	if src == "" {
		src, limit = filepath.Join(d.o.bin, "miner"), size.defaultFile
	} else if d.o.deals != 1 {
		return errors.New("one file makes one deal; leave out --file or --deals")
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
	if d.o.file != "" && st.Size() > size.maxFile {
		return fmt.Errorf("%s has %d bytes; one %s sector takes files up to %d bytes", src, st.Size(), d.o.sectorSize, size.maxFile)
	}
	for i := range d.o.deals {
		one := &deal{file: filepath.Join(d.dir, fmt.Sprintf("original-%d", i))}
		if err := one.take(io.LimitReader(in, limit)); err != nil {
			return fmt.Errorf("copy %s: %w", src, err)
		}
		d.deals = append(d.deals, one)
	}
	return nil
}

// take writes the deal's file.
func (one *deal) take(in io.Reader) error {
	out, err := os.Create(one.file)
	if err != nil {
		return err
	}
	defer out.Close()
	h := sha256.New()
	if one.size, err = io.Copy(io.MultiWriter(out, h), in); err != nil {
		return err
	}
	one.sum = hex.EncodeToString(h.Sum(nil))
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

// fatal is an error that waiting does not mend.
type fatal struct{ err error }

func (f *fatal) Error() string { return f.err.Error() }

// until polls cond until it says done; it also watches that no process died.
func (d *demo) until(ctx context.Context, what string, cond func(context.Context) (bool, error)) error {
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		done, err := cond(ctx)
		var end *fatal
		switch {
		case errors.As(err, &end):
			return end.err
		case done && err == nil:
			return nil
		case err != nil:
			last = err
		}
		for _, p := range d.victims() {
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
