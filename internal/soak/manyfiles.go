package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/testnet"
)

const (
	files        = 25_000
	declareLimit = 5 * time.Second
	memoryLimit  = 256 << 20 // more than before, bytes
	beatLimit    = 30 * time.Second
)

// manyFiles attaches a path with as many files as a large one has.
func manyFiles(ctx context.Context, r *run) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.pledges(ctx, 1); err != nil {
		return err
	}
	disk := filepath.Join(r.Dir(), "disk")
	if err := r.fillDisk(ctx, disk); err != nil {
		return err
	}
	before, err := resident(r.MinerProc.PID())
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.AttachPath(ctx, disk, testnet.Store, 1); err != nil {
		return err
	}
	id, err := r.declared(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began)
	after, err := resident(r.MinerProc.PID())
	if err != nil {
		return err
	}
	r.say("%d files of %s were attached and declared within %s; memory %d MiB, before %d MiB", files, id,
		took.Round(time.Millisecond), after>>20, before>>20)
	if limit := declareLimit * time.Duration(max(r.o.slack, 1)); took > limit {
		return fmt.Errorf("attaching %d files took %s, more than %s", files, took, limit)
	}
	if after > before+memoryLimit {
		return fmt.Errorf("the private node has %d MiB after %d files, %d MiB before", after>>20, files, before>>20)
	}
	if err := r.beats(ctx); err != nil {
		return err
	}
	return r.afterRestart(ctx)
}

// fillDisk makes empty files with the names of sealed sectors, half of them in
// sealed/ and half in cache/, as a path has them.
func (r *run) fillDisk(ctx context.Context, disk string) error {
	sectors, err := r.sectors(ctx)
	if err != nil {
		return err
	}
	miner := sectors[0].Sector.ID.Miner
	for _, t := range []api.FileType{api.FileSealed, api.FileCache} {
		dir := filepath.Join(disk, t.String())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for i := range files / 2 {
			name := filepath.Join(dir, api.SectorName(abi.SectorID{Miner: miner, Number: abi.SectorNumber(1_000_000 + i)}))
			if t == api.FileCache {
				err = os.Mkdir(name, 0o755)
			} else {
				err = os.WriteFile(name, nil, 0o644)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// declared waits until the index knows all files of the path with the lowest
// weight.
func (r *run) declared(ctx context.Context) (id api.StorageID, err error) {
	err = r.Until(ctx, "all files to be declared", func(ctx context.Context) (bool, error) {
		list, err := r.Miner.StorageList(ctx)
		if err != nil {
			return false, err
		}
		for _, p := range list {
			if p.Weight == 1 {
				id = p.ID
			}
		}
		n, cursor := 0, ""
		for {
			page, next, err := r.Miner.StorageFiles(ctx, id, cursor, 5000)
			if err != nil {
				return false, err
			}
			n += len(page)
			switch {
			case next != "":
				cursor = next
				continue
			case n != files:
				return false, fmt.Errorf("%d of %d files are known", n, files)
			}
			return true, nil
		}
	})
	return id, err
}

// beats requires all paths to be heard of, also while all files are declared
// anew.
func (r *run) beats(ctx context.Context) error {
	span := 6 * time.Minute // all files are declared anew every five
	if r.o.short {
		span = 15 * time.Second
	}
	end := time.Now().Add(span)
	return r.Until(ctx, "minutes of heartbeats", func(ctx context.Context) (bool, error) {
		list, err := r.Miner.StorageList(ctx)
		if err != nil {
			return false, err
		}
		for _, p := range list {
			if age := time.Since(p.LastHeartbeat); age > beatLimit*time.Duration(max(r.o.slack, 1)) {
				return false, &testnet.Fatal{Err: fmt.Errorf("path %s was not heard of for %s", p.ID, age)}
			}
		}
		return time.Now().After(end), nil
	})
}

// afterRestart requires the private node to know them all again, and to answer
// meanwhile.
func (r *run) afterRestart(ctx context.Context) error {
	began := time.Now()
	if err := r.MinerProc.Kill9(); err != nil {
		return err
	}
	if _, err := r.declared(ctx); err != nil {
		return err
	}
	r.say("after a kill -9 all files were known again within %s", time.Since(began).Round(time.Millisecond))
	return r.pledges(ctx, 1)
}

// resident is the memory of a process, bytes.
func resident(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, &cannotRun{"the memory of a process is read from /proc: " + err.Error()}
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var kib int64
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
				return 0, err
			}
			return kib << 10, nil
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("no VmRSS in the status of the process"))
}
