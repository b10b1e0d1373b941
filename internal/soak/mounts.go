package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/internal/testnet"
)

// heavy makes new sectors go to a path rather than to any other.
const heavy = 1_000_000

// leftovers takes away what a run that was killed left mounted; nothing can be
// deleted below it otherwise.
func leftovers(dir string) {
	for _, name := range []string{"disk", "kept"} {
		for unix.Unmount(filepath.Join(dir, name), unix.MNT_DETACH) == nil {
			continue // until nothing is mounted there
		}
	}
}

// hang covers a directory with a file system whose server never answers: every
// look at it sleeps in the kernel, as with a dead NFS server. The function
// returned takes it away again; those who sleep get an error.
func hang(dir string) (heal func() error, err error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &cannotRun{"a mount that hangs needs /dev/fuse: " + err.Error()}
	}
	opts := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other", fd, os.Getuid(), os.Getgid())
	if err := unix.Mount("hung", dir, "fuse.hung", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		_ = unix.Close(fd)
		return nil, &cannotRun{"a mount that hangs needs root: " + err.Error()}
	}
	return func() error {
		// The mount first, or a look at it in between would say "not connected".
		return errors.Join(unix.Unmount(dir, unix.MNT_DETACH), unix.Close(fd))
	}, nil
}

// hangingMount: of two paths with sectors one hangs, over two deadlines.
func hangingMount(ctx context.Context, r *run) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	// Sectors are sealed on a third path: they stay on one that is for both.
	if err := r.AttachPath(ctx, filepath.Join(r.Dir(), "scratch"), testnet.Seal, 10); err != nil {
		return err
	}
	disk := filepath.Join(r.Dir(), "disk")
	// Partitions have two sectors here: one in which half can be proven, and one with
	// nothing that can. The later path is preferred.
	for i, dir := range []string{filepath.Join(r.Dir(), "healthy"), disk} {
		if err := r.AttachPath(ctx, dir, testnet.Store, 10+i*heavy); err != nil {
			return err
		}
		if err := r.pledges(ctx, 1+i); err != nil {
			return err
		}
	}
	if err := r.sickOn(disk); err != nil {
		return err
	}
	open, err := r.toDeadline(ctx)
	if err != nil {
		return err
	}
	heal, err := hang(disk)
	if err != nil {
		return err
	}
	r.say("%s hangs, with %d of 3 sectors", disk, len(r.sick))
	err = r.provenWithout(ctx, open)
	r.say("it answers again")
	if err := errors.Join(err, heal()); err != nil {
		return err
	}
	return r.healed(ctx)
}

// pledges seals sectors of zeros.
func (r *run) pledges(ctx context.Context, n int) error {
	for range n {
		if _, err := r.pledge(ctx); err != nil {
			return err
		}
	}
	return r.settle(ctx)
}

// sickOn notes the sectors that lie on a disk.
func (r *run) sickOn(disk string) error {
	names, err := os.ReadDir(filepath.Join(disk, api.FileSealed.String()))
	if err != nil {
		return err
	}
	for _, e := range names {
		if id, err := api.ParseSectorName(e.Name()); err == nil {
			r.sick[id.Number] = true
		}
	}
	if len(r.sick) != 2 {
		return fmt.Errorf("%d sectors lie on %s, not 2 of 3", len(r.sick), disk)
	}
	return nil
}

// provenWithout requires the healthy sectors to be proven in the deadline that
// opens at an epoch and in the one a day later, while the others cannot be read.
func (r *run) provenWithout(ctx context.Context, open abi.ChainEpoch) error {
	for day := range 2 {
		if day > 0 {
			var err error
			if open, err = r.toDeadline(ctx); err != nil {
				return err
			}
		}
		if err := r.setPace(ctx, slowEpoch); err != nil {
			return err
		}
		r.say("waiting for the proof of the deadline that opens at %d", open)
		rec, err := r.proven(ctx, open)
		if err != nil {
			return fmt.Errorf("day %d of the hanging mount: %w", day, err)
		}
		r.say("day %d: %d sectors in question, skipped %v, took %s", day, rec.Sectors, rec.Skipped, rec.Elapsed.Round(time.Millisecond))
		if err := r.usualPace(ctx); err != nil {
			return err
		}
	}
	return nil
}

// healed waits until no sector is faulty any more.
func (r *run) healed(ctx context.Context) error {
	maddr, err := r.actor()
	if err != nil {
		return err
	}
	r.say("waiting until all sectors are proven again")
	return r.Until(ctx, "all faults to be over", func(ctx context.Context) (bool, error) {
		faults, err := r.Chain.StateMinerFaults(ctx, maddr, nil)
		if err != nil {
			return false, err
		}
		if none, err := faults.IsEmpty(); none || err != nil {
			return none, err
		}
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, err = r.Chain.DevnetWarp(short, 200, false)
		return false, err
	})
}

// disk is a file system that can be taken away and brought back with all that is
// on it.
type disk struct{ keep, at string }

// newDisk mounts a file system in memory at a directory, and once more where it
// stays.
func newDisk(dir string) (*disk, error) {
	d := &disk{keep: filepath.Join(dir, "kept"), at: filepath.Join(dir, "disk")}
	if err := errors.Join(os.MkdirAll(d.keep, 0o755), os.MkdirAll(d.at, 0o755)); err != nil {
		return nil, err
	}
	if err := unix.Mount("soak", d.keep, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=2g"); err != nil {
		return nil, &cannotRun{"mounting needs root: " + err.Error()}
	}
	return d, d.mount()
}

func (d *disk) mount() error { return unix.Mount(d.keep, d.at, "", unix.MS_BIND, "") }

// unmount is umount -l: who has files open there keeps them.
func (d *disk) unmount() error { return unix.Unmount(d.at, unix.MNT_DETACH) }

// close leaves nothing mounted.
func (d *disk) close() {
	_ = unix.Unmount(d.at, unix.MNT_DETACH) // not mounted, mostly
	_ = unix.Unmount(d.keep, unix.MNT_DETACH)
}

// untouched requires that nothing was written into the empty mount point.
func (d *disk) untouched() error {
	names, err := os.ReadDir(d.at)
	if err != nil {
		return err
	}
	for _, e := range names {
		return fmt.Errorf("%s was written into the mount point of a disk that is not mounted", e.Name())
	}
	return nil
}

// unmountedDisk: a path vanishes under a sector that is being sealed on it, and
// is not there at a start.
func unmountedDisk(ctx context.Context, r *run) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	d, err := newDisk(r.Dir())
	if err != nil {
		return err
	}
	defer d.close()
	if err := r.AttachPath(ctx, d.at, testnet.SealAndStore, heavy); err != nil {
		return err
	}
	if _, err := r.pledge(ctx); err != nil {
		return err
	}
	if err := r.Until(ctx, "layers to be written on the disk", func(context.Context) (bool, error) {
		made, err := filepath.Glob(filepath.Join(d.at, api.FileCache.String(), "*", "*"))
		return len(made) > 0, err
	}); err != nil {
		return err
	}
	r.say("the disk is unmounted, with layers of a sector begun")
	if err := d.unmount(); err != nil {
		return err
	}
	if err := r.elsewhere(ctx, d); err != nil {
		return err
	}
	r.say("the disk is mounted again")
	if err := d.mount(); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return fmt.Errorf("after the disk came back, without a restart: %w", err)
	}
	return r.unmountedAtStart(ctx, d)
}

// elsewhere requires a new sector to be sealed while the disk is away, nothing to
// lie in the mount point, and the list of paths to say what is the matter.
func (r *run) elsewhere(ctx context.Context, d *disk) error {
	n, err := r.pledge(ctx)
	if err != nil {
		return err
	}
	if err := r.sealed(ctx, n, d); err != nil {
		return fmt.Errorf("with another path in good health: %w", err)
	}
	return r.Until(ctx, "`storage list` to tell that the disk is away", func(ctx context.Context) (bool, error) {
		list, err := r.Miner.StorageList(ctx)
		for _, p := range list {
			if p.Weight == heavy && p.HeartbeatErr != "" {
				r.say("storage list: %s", p.HeartbeatErr)
				return true, nil
			}
		}
		return false, err
	})
}

// sealed waits until one sector is proving while a disk is away, into whose mount
// point nothing may be written.
func (r *run) sealed(ctx context.Context, n abi.SectorNumber, d *disk) error {
	last := ""
	return r.Until(ctx, fmt.Sprintf("sector %d to be sealed", n), func(ctx context.Context) (bool, error) {
		if err := d.untouched(); err != nil {
			return false, &testnet.Fatal{Err: err}
		}
		s, err := r.Miner.SectorsStatus(ctx, n, false)
		if err != nil {
			return false, err
		}
		r.note(&last, "sector %d is %s%s", n, s.State, trouble(s))
		return s.State == api.SectorProving, nil
	})
}

func (r *run) unmountedAtStart(ctx context.Context, d *disk) error {
	r.say("the private node is killed and started without the disk")
	if err := errors.Join(r.MinerProc.Kill(), d.unmount(), r.MinerProc.Start()); err != nil {
		return err
	}
	n, err := r.pledge(ctx)
	if err != nil {
		return err
	}
	if err := r.sealed(ctx, n, d); err != nil {
		return err
	}
	if err := d.mount(); err != nil {
		return err
	}
	return r.Until(ctx, "the disk to be known again", func(ctx context.Context) (bool, error) {
		list, err := r.Miner.StorageList(ctx)
		for _, p := range list {
			if p.Weight == heavy && p.HeartbeatErr == "" {
				return true, nil
			}
		}
		return false, err
	})
}
