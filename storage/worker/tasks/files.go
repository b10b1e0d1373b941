package tasks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"quarry/api"
	"quarry/storage/paths"
)

// ask is Claim.Ask for calls that also touch this machine's disks, whose errors
// are not cured by waiting for the private node.
func (j *job) ask(ctx context.Context, what string, call func(context.Context) error) error {
	var disk error
	err := j.Ask(ctx, what, func(ctx context.Context) error {
		err := call(ctx)
		var at *fs.PathError
		if errors.As(err, &at) {
			disk = err
			return nil
		}
		return err
	})
	return errors.Join(disk, err)
}

// find lists where a file of the sector is.
func (j *job) find(ctx context.Context, t api.FileType) (locs []api.SectorLocationInfo, err error) {
	err = j.Ask(ctx, "the places of "+j.name(t)+" are looked up", func(ctx context.Context) (err error) {
		locs, err = j.node.StorageFindSector(ctx, j.sector.ID, t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", j.name(t), err)
	}
	return locs, nil
}

func (j *job) name(t api.FileType) string { return t.String() + " of sector " + j.String() }

// have gives the local path that holds a file, fetching the file into a sealing
// path when no local path has it. What was fetched of it stays, whatever happens.
func (j *job) have(ctx context.Context, t api.FileType) (paths.Path, error) {
	if at, ok := j.local.Find(ctx, j.sector.ID, t); ok {
		return at, nil
	}
	locs, err := j.find(ctx, t)
	if err != nil {
		return paths.Path{}, err
	}
	if len(locs) == 0 {
		return paths.Path{}, &api.ErrNotFound{What: j.name(t), Hint: "no attached storage path has it"}
	}
	at, release, err := j.room(ctx, paths.Want{
		What:    t.String(),
		Types:   t,
		Need:    paths.Need(t, j.size, true),
		Sealing: true,
		From:    metas(locs),
	})
	if err != nil {
		return paths.Path{}, err
	}
	defer release()
	tmp, err := at.TempPath(j.sector.ID, t)
	if err != nil {
		return paths.Path{}, err
	}
	if err := j.fetch(ctx, locs, t, tmp); err != nil {
		return paths.Path{}, fmt.Errorf("fetch %s: %w", j.name(t), err)
	}
	if err := at.Publish(j.sector.ID, t); err != nil {
		return at, err
	}
	return at, j.declare(ctx, at, t, false)
}

// fetch gets a file from the first process that gives it.
func (j *job) fetch(ctx context.Context, locs []api.SectorLocationInfo, t api.FileType, tmp string) error {
	var errs []error
	for _, l := range locs {
		for _, u := range l.URLs {
			err := j.client.Sector(ctx, u, t, tmp, j.of("fetch "+t.String()))
			var full *api.ErrNoSpace
			var disk *fs.PathError
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return cause(ctx)
			case errors.As(err, &full), errors.As(err, &disk): // here: no other source is better
				return err
			}
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return &api.ErrNotFound{What: j.name(t), Hint: "the process that has it serves no URL; give it a listen address or share the path"}
	}
	return &api.ErrUnreachable{Peer: "every process that has " + j.name(t), Reason: errors.Join(errs...).Error()}
}

// declare tells the index of a file. An index that restarted learns of the path
// first, which the heartbeats of this process see to.
func (j *job) declare(ctx context.Context, at paths.Path, t api.FileType, primary bool) error {
	return j.ask(ctx, j.name(t)+" on path "+string(at.Meta.ID)+" is declared", func(ctx context.Context) error {
		err := j.local.Declare(ctx, api.SectorFile{Sector: j.sector.ID, Type: t, Storage: at.Meta.ID, Primary: primary || at.Meta.CanStore})
		var unknown *api.ErrNotFound
		if _, attached := j.local.Dir(at.Meta.ID); attached && errors.As(err, &unknown) {
			return &api.ErrBusy{What: "storage index", Reason: "it does not know storage path " + string(at.Meta.ID) + " yet"}
		}
		return err
	})
}

// roomPoll is how often a task that lacks room looks again.
const roomPoll = 5 * time.Second

// metas are the paths where files are, as far as the index tells.
func metas(locs []api.SectorLocationInfo) (out []api.PathMeta) {
	for _, l := range locs {
		out = append(out, api.PathMeta{ID: l.Storage, Groups: l.Groups, AllowTo: l.AllowTo})
	}
	return out
}

// room reserves space for files of the sector on a path of this process, for a
// while waiting for others to free some.
func (j *job) room(ctx context.Context, w paths.Want) (paths.Path, func(), error) {
	w.What, w.Miner = w.What+" of sector "+j.String(), j.sector.ID.Miner
	end := time.Now().Add(j.cfg.RoomWait)
	for {
		at, release, err := j.local.Alloc(ctx, w)
		var full *api.ErrNoSpace
		left := time.Until(end)
		if !errors.As(err, &full) || left <= 0 {
			return at, release, err
		}
		j.Set("waits for room on a storage path", 0, 0)
		sleep(ctx, min(left, roomPoll))
		if ctx.Err() != nil {
			return at, nil, cause(ctx)
		}
	}
}

// openFile opens a replica for reading, fetching it when need be.
func (j *job) openFile(ctx context.Context, t api.FileType) (*os.File, error) {
	at, err := j.have(ctx, t)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(at.FilePath(j.sector.ID, t))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", j.name(t), err)
	}
	return f, nil
}

// cacheDir is the local directory of a cache, fetched when need be.
func (j *job) cacheDir(ctx context.Context, t api.FileType) (paths.CacheDir, error) {
	at, err := j.have(ctx, t)
	return paths.CacheDir(at.FilePath(j.sector.ID, t)), err
}
