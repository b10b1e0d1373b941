package paths

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"quarry/api"
	"quarry/internal/breaker"
)

// redeclareEvery is how many heartbeats pass between full declarations, which
// repair whatever a crash left between a rename and its declaration.
const redeclareEvery = 30

// scanLimit bounds the listing of a path, and the counting of what it uses.
const scanLimit = 5 * time.Minute

// tellLimit bounds one message to the index.
const tellLimit = time.Minute

// Run looks after every path until ctx ends, each in a goroutine of its own: none
// waits for another.
func (l *Local) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		for _, p := range l.untended(ctx) {
			wg.Go(func() {
				l.catch.Again(p.ctx, "looking after "+p.dir, func(ctx context.Context) error {
					l.tend(ctx, p.place)
					return nil
				})
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.grown:
		}
	}
}

type tending struct {
	*place
	ctx context.Context // of its goroutine
}

// untended takes the places that nobody looks after.
func (l *Local) untended(ctx context.Context) (out []tending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.places {
		if !p.tended {
			p.tended = true
			own, stop := context.WithCancel(ctx)
			p.stop = stop
			out = append(out, tending{p, own})
		}
	}
	return out
}

// tend looks after one path until ctx ends.
func (l *Local) tend(ctx context.Context, p *place) {
	defer l.left(p)
	tick := time.NewTicker(l.cfg.Heartbeat)
	defer tick.Stop()
	for n := 0; ; n++ {
		l.count(ctx, p)
		if err := l.beat(ctx, p, n); err != nil && ctx.Err() == nil {
			l.log.Warn("storage index cannot be told of a path; it will be told again", "path", p.dir, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *Local) left(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.stop()
	p.tended = false
}

// beat is one heartbeat: a look at the disk and a word to the index.
func (l *Local) beat(ctx context.Context, p *place, n int) error {
	l.mu.Lock()
	opened := p.opened
	l.mu.Unlock()
	if !opened {
		if err := l.look(ctx, p); err != nil {
			return nil // it is named in the list of troubles, and was logged at the start
		}
		l.log.Info("storage path opened", "path", p.dir)
	}
	l.examine(ctx, p, n%probeEvery == 0)
	l.mu.Lock()
	h := api.PathHealth{Storage: p.meta.ID, URL: l.cfg.URL, Stat: p.stat(), Err: p.trouble}
	known := p.known
	l.mu.Unlock()
	if h.Err == "" && (!known || n%redeclareEvery == 0) {
		return l.announce(ctx, p)
	}
	if !known {
		return nil // there is nothing to say of a path that the index never had
	}
	told, stop := context.WithTimeout(ctx, tellLimit)
	defer stop()
	err := l.deps.Index.StorageReportHealth(told, h)
	var unknown *api.ErrNotFound
	if !errors.As(err, &unknown) {
		return err
	}
	l.mu.Lock()
	p.known = false
	l.mu.Unlock()
	if h.Err != "" {
		return nil
	}
	return l.announce(ctx, p)
}

// announce attaches the path and declares every sector file in it.
func (l *Local) announce(ctx context.Context, p *place) error {
	l.mu.Lock()
	meta, stat := p.meta, p.stat()
	l.mu.Unlock()
	told, stop := context.WithTimeout(ctx, tellLimit)
	defer stop()
	if err := l.deps.Index.StorageAttach(told, meta, l.cfg.URL, stat); err != nil {
		return fmt.Errorf("attach storage path %s: %w", p.dir, err)
	}
	if err := l.payOwed(ctx, Path{Meta: meta, Dir: p.dir}); err != nil {
		return err
	}
	files, err := breaker.Get(ctx, l.deps.Breaker, p.dir, scanLimit,
		func(context.Context) ([]api.SectorFile, error) { return l.scan(p.dir, meta) })
	if err != nil {
		return fmt.Errorf("list storage path %s: %w", p.dir, err)
	}
	for batch := range slices.Chunk(files, api.MaxDeclare) {
		if err := l.Declare(ctx, batch...); err != nil {
			return err
		}
	}
	l.mu.Lock()
	p.known = true
	l.mu.Unlock()
	return nil
}

// scan lists the sector files of a path.
func (l *Local) scan(dir string, meta api.PathMeta) ([]api.SectorFile, error) {
	var out []api.SectorFile
	owed := l.owes(meta.ID)
	for _, t := range api.AllFileTypes {
		names, err := l.deps.Disk.List(dir, t)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if name == tempDir {
				continue
			}
			id, err := api.ParseSectorName(name)
			if err != nil {
				l.log.Warn("stray name in a storage path is ignored", "path", dir, "kind", t, "name", name)
				continue
			}
			f := api.SectorFile{Sector: id, Type: t, Storage: meta.ID, Primary: meta.CanStore}
			if !slices.ContainsFunc(owed, func(d deletion) bool { return d.same(f) }) {
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// Declare tells the index of files, at most api.MaxDeclare. A process whose token
// does not allow it (a markets node that only reads shared paths) stays silent:
// the process that owns the path declares its files.
func (l *Local) Declare(ctx context.Context, files ...api.SectorFile) error {
	if err := l.forgive(files...); err != nil {
		return err
	}
	l.mu.Lock()
	mute := l.mute
	l.mu.Unlock()
	if mute {
		return nil
	}
	told, stop := context.WithTimeout(ctx, tellLimit)
	defer stop()
	err := l.deps.Index.StorageDeclareSectors(told, files)
	var perm *api.ErrPermission
	if errors.As(err, &perm) {
		l.mu.Lock()
		l.mute = true
		l.mu.Unlock()
		return nil
	}
	if err != nil {
		return fmt.Errorf("declare %d sector files to the index: %w", len(files), err)
	}
	return nil
}

// Drop tells the index that one file is no longer there.
func (l *Local) Drop(ctx context.Context, f api.SectorFile) error {
	if err := l.deps.Index.StorageDropSectors(ctx, []api.SectorFile{f}); err != nil {
		return fmt.Errorf("drop %s of sector %s from the index: %w", f.Type, api.SectorName(f.Sector), err)
	}
	return nil
}
