package paths

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/internal/breaker"
)

// place is a configured directory. Local.mu guards its fields but dir.
type place struct {
	dir     string
	meta    api.PathMeta // of the last look that succeeded
	opened  bool         // at least once
	release func()       // gives the claim on the directory back
	tended  bool         // a goroutine looks after it
	stop    context.CancelFunc

	trouble    string // why it cannot be used at all
	unwritable string // why nothing new can be written
	space      Space
	used       int64         // bytes on disk, where MaxStorage needs it
	walk       time.Duration // how long counting that took
	counted    time.Time
	reserved   int64
	known      bool // the index has been told everything
}

func (p *place) path() Path { return Path{Meta: p.meta, Dir: p.dir} }

// probeEvery is how many heartbeats pass between two tries to write.
const probeEvery = 6

// walkShare bounds how much of the time is spent on counting what a path with
// MaxStorage uses: a walk that takes long is repeated after twenty times as long.
const (
	walkShare = 20
	longWalk  = time.Second
)

// examine looks at an opened path: whether it is still the path, what it has room
// for, and every so often whether it can be written.
func (l *Local) examine(ctx context.Context, p *place, probe bool) {
	seen, err := breaker.Get(ctx, l.deps.Breaker, p.dir, l.cfg.Limit, func(context.Context) (examined, error) {
		return l.examineDisk(p.dir, p.id(l), probe)
	})
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	was := [2]string{p.trouble, p.unwritable}
	p.trouble = ""
	if err != nil {
		p.trouble = plain(err)
	} else {
		p.meta, p.space = seen.meta, seen.space
		if probe || seen.space.ReadOnly {
			p.unwritable = seen.unwritable
		}
	}
	if now := [2]string{p.trouble, p.unwritable}; now != was {
		l.tell(p)
	}
}

// tell logs what has become of a path, once.
func (l *Local) tell(p *place) {
	switch {
	case p.trouble != "":
		l.log.Error("a storage path is not usable; its sectors cannot be read and it gets nothing new until it is back",
			"path", p.dir, "id", p.meta.ID, "err", p.trouble)
	case p.unwritable != "":
		l.log.Error("a storage path cannot be written; it gets nothing new until it can", "path", p.dir, "id", p.meta.ID, "err",
			p.unwritable)
	default:
		l.log.Info("a storage path is well again", "path", p.dir, "id", p.meta.ID)
	}
}

func (p *place) id(l *Local) api.StorageID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.meta.ID
}

// examined is what one look at a path gave.
type examined struct {
	meta       api.PathMeta
	space      Space
	unwritable string
}

func (l *Local) examineDisk(dir string, id api.StorageID, probe bool) (e examined, err error) {
	if e.meta, _, err = l.deps.Disk.Meta(dir); err != nil {
		return e, gone(dir, err)
	}
	if e.meta.ID != id {
		return e, fmt.Errorf("another storage path (%s) is in %s now; attach it, or bring the disk of %s back", e.meta.ID, dir, id)
	}
	if e.space, err = l.deps.Disk.Space(dir); err != nil {
		return e, err
	}
	writes := !l.cfg.ReadOnly && e.meta.Weight > 0 && (e.meta.CanSeal || e.meta.CanStore)
	switch {
	case !writes:
	case e.space.ReadOnly:
		e.unwritable = "its file system is mounted read-only"
	case probe:
		e.unwritable = whyUnwritable(l.deps.Disk.Probe(dir))
	}
	return e, nil
}

// whyUnwritable is the reason of a failed try to write. A full disk is writable:
// what fits is another question.
func whyUnwritable(err error) string {
	if err == nil || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return ""
	}
	return "a file cannot be written: " + plain(err)
}

// gone says what a directory without a sectorstore.json most likely is.
func gone(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no %s: its disk is not mounted, or the path was moved away", dir, MetaFile)
	}
	return err
}

// count sums what a path with MaxStorage uses, unless it was counted lately and
// that took long. It tells whether it did.
func (l *Local) count(ctx context.Context, p *place) bool {
	l.mu.Lock()
	limited := p.opened && p.meta.MaxStorage > 0
	lately := p.walk > longWalk && time.Since(p.counted) < walkShare*p.walk
	l.mu.Unlock()
	if !limited || lately {
		return false
	}
	began := time.Now()
	used, err := breaker.Get(ctx, l.deps.Breaker, p.dir, scanLimit,
		func(context.Context) (int64, error) { return l.deps.Disk.Used(p.dir), nil })
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.used, p.walk, p.counted = used, time.Since(began), time.Now()
	return true
}

// stat is the state of a path, less reservations. The caller holds mu.
func (p *place) stat() api.FsStat {
	out := api.FsStat{
		Capacity:    p.space.Capacity,
		FSAvailable: p.space.Available,
		Reserved:    p.reserved,
		Available:   max(p.space.Available-p.reserved, 0),
		Unwritable:  p.unwritable,
	}
	if p.meta.MaxStorage > 0 {
		out.Max, out.Used = int64(min(p.meta.MaxStorage, 1<<62)), p.used //nolint:gosec // bounded
		out.Available = max(min(out.Available, out.Max-out.Used-p.reserved), 0)
	}
	return out
}
