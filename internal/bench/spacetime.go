package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/porep"
	"quarry/proofs/post"
)

type reader = io.ReaderAt

// PoStRun is one vanilla proof of spacetime, made and checked.
type PoStRun struct {
	Kind    string  `json:"kind"`    // winning or window
	Sectors int     `json:"sectors"` // in the proof
	Cold    bool    `json:"cold"`    // the system's copies of the files were dropped before
	Phases  []Phase `json:"phases"`  // prove, verify
	Reads   int64   `json:"reads"`   // read calls while proving
	Bytes   int64   `json:"read_bytes"`
	Proof   int     `json:"proof_bytes"`
}

// PoStReport is what PoSt measured.
type PoStReport struct {
	SectorSize uint64    `json:"sector_size"`
	Runs       []PoStRun `json:"runs"`
}

// PoSt seals a sector in dir and makes proofs of spacetime of it: a winning one
// and a window one over count sectors, which all have the same files, each with
// files that the system has at hand and, where that can be had, with files that
// must come from the disk.
func PoSt(ctx context.Context, size abi.SectorSize, count int, dir string, deps Deps) (r PoStReport, err error) {
	sector, err := sealReady(ctx, size, dir, deps)
	if err != nil {
		return r, fmt.Errorf("sealing a sector to prove: %w", err)
	}
	defer sector.close()
	return sector.post(ctx, count)
}

func (r *ready) post(ctx context.Context, count int) (out PoStReport, err error) {
	out.SectorSize = uint64(r.in.Way.Size)
	if _, err := r.postRun(ctx, KindWinning, 1, false); err != nil { // constants are derived when first needed
		return out, fmt.Errorf("winning proof: %w", err)
	}
	for _, cold := range []bool{false, true} {
		for _, kind := range []string{KindWinning, KindWindow} {
			if cold && r.forget() != nil {
				continue // cannot be had here
			}
			run, err := r.postRun(ctx, kind, count, cold)
			if err != nil {
				return out, fmt.Errorf("%s proof: %w", kind, err)
			}
			out.Runs = append(out.Runs, run)
		}
	}
	return out, nil
}

func (r *ready) postRun(ctx context.Context, kind string, count int, cold bool) (run PoStRun, err error) {
	winning, window, err := postProofs(r.proof)
	if err != nil {
		return run, err
	}
	if kind == KindWinning {
		count = 1
	}
	run = PoStRun{Kind: kind, Sectors: count, Cold: cold}
	var rec Recorder
	var blob []byte
	counted := new(counter)
	sectors := r.access(count, counting{r.sealed, counted}, countingFiles{r.cache, counted})
	err = rec.Do(ctx, "prove", func(ctx context.Context) error {
		if kind == KindWinning {
			blob, err = post.ProveWinning(ctx, r.miner, draw(), sectors)
			return err
		}
		var faults []post.Fault
		if blob, faults, err = post.FindFaults(ctx, r.miner, draw(), sectors); err == nil && len(faults) > 0 {
			err = faults[0]
		}
		return err
	})
	if err != nil {
		return run, err
	}
	run.Reads, run.Bytes, run.Proof = counted.calls.Load(), counted.bytes.Load(), len(blob)
	err = rec.Do(ctx, "verify", func(ctx context.Context) error {
		var ok bool
		if kind == KindWinning {
			ok, err = post.VerifyWinning(ctx, r.winningInfo(winning, draw()), blob)
		} else {
			ok, err = post.VerifyWindow(ctx, r.windowInfo(window, draw(), count), blob)
		}
		if err == nil && !ok {
			err = errors.New("the proof just made does not verify")
		}
		return err
	})
	run.Phases = rec.Phases
	return run, err
}

// forget makes the system drop its copies of the files that proofs of spacetime
// read.
func (r *ready) forget() error {
	names, err := r.cache.List()
	if err != nil {
		return err
	}
	if err := dropPages(r.sealed); err != nil {
		return err
	}
	for _, n := range names {
		f, err := r.cache.Open(n)
		if err != nil {
			return err
		}
		if err := errors.Join(dropPages(f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

var errKept = errors.New("the system does not drop its copy of this file")

// counter counts reads.
type counter struct{ calls, bytes atomic.Int64 }

type counting struct {
	r io.ReaderAt
	n *counter
}

// ReadAt implements io.ReaderAt.
func (c counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n.calls.Add(1)
	c.n.bytes.Add(int64(n))
	return n, err
}

// countingFiles counts what is read from files opened through it.
type countingFiles struct {
	porep.Files
	n *counter
}

// Open implements porep.Files.
func (c countingFiles) Open(name string) (porep.File, error) {
	f, err := c.Files.Open(name)
	if err != nil {
		return nil, err
	}
	return countingFile{f, c.n}, nil
}

type countingFile struct {
	porep.File
	n *counter
}

// ReadAt implements io.ReaderAt.
func (c countingFile) ReadAt(p []byte, off int64) (int, error) {
	return counting{c.File, c.n}.ReadAt(p, off)
}
