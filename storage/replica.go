package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/storage/paths"
)

// form is a replica with its cache: as sealed, or as updated with data later.
type form struct{ replica, cache api.FileType }

var (
	asSealed  = form{api.FileSealed, api.FileCache}
	asUpdated = form{api.FileUpdate, api.FileUpdateCache}
)

// openSector is a sector with its files open.
type openSector struct {
	post.SectorAccess
	closer io.Closer
}

func (o *openSector) close() {
	if o.closer != nil {
		_ = o.closer.Close()
	}
}

// open finds that replica and cache of a sector which the chain has: while a
// sector is being updated there are two, told apart by the commitment of the
// updated one.
func (m *Manager) open(ctx context.Context, id abi.SectorID, info proof.SectorInfo) (*openSector, error) {
	updated, err := m.has(ctx, id, api.FileUpdate)
	if err != nil {
		return nil, err
	}
	if !updated {
		return m.openForm(ctx, id, info, asSealed)
	}
	o, err := m.openForm(ctx, id, info, asUpdated)
	if err == nil {
		c, err2 := sealedCID(o.Cache)
		if err2 == nil && c == info.SealedCID {
			return o, nil
		}
		o.close()
		err = fmt.Errorf("the updated replica of sector %s is %s, the chain has %s", api.SectorName(id), c, info.SealedCID)
		if err2 != nil {
			err = fmt.Errorf("updated replica of sector %s: %w", api.SectorName(id), err2)
		}
	}
	before, err2 := m.openForm(ctx, id, info, asSealed)
	if err2 != nil {
		return nil, errors.Join(err, err2)
	}
	return before, nil
}

// kept lists the forms of a sector whose replica is there; with none, the one
// whose absence is the fault.
func (m *Manager) kept(ctx context.Context, id abi.SectorID) ([]form, error) {
	sealed, err1 := m.has(ctx, id, api.FileSealed)
	update, err2 := m.has(ctx, id, api.FileUpdate)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	switch {
	case sealed && update:
		return []form{asSealed, asUpdated}, nil
	case update:
		return []form{asUpdated}, nil
	}
	return []form{asSealed}, nil
}

func (m *Manager) has(ctx context.Context, id abi.SectorID, t api.FileType) (bool, error) {
	if _, ok := m.local.Find(id, t); ok {
		return true, nil
	}
	locs, err := m.StorageFindSector(ctx, id, t)
	return len(locs) > 0, err
}

// openForm opens a replica and its cache: on this process's paths, or else over
// HTTP. The replica must have the size of the sector.
func (m *Manager) openForm(ctx context.Context, id abi.SectorID, info proof.SectorInfo, f form) (*openSector, error) {
	size, err := info.SealProof.SectorSize()
	if err != nil {
		return nil, &api.ErrInvalid{What: fmt.Sprintf("seal proof type %d", info.SealProof), Reason: "it does not exist"}
	}
	sealed, err := m.openReplica(ctx, id, f.replica)
	if err != nil {
		return nil, err
	}
	if n, err := sealed.Size(); err != nil || n != int64(size) { //nolint:gosec // sector sizes fit
		return nil, errors.Join(fmt.Errorf("replica of sector %s has %d bytes instead of %d", api.SectorName(id), n, uint64(size)), err, sealed.Close())
	}
	cache, err := m.openCache(ctx, id, f.cache)
	if err != nil {
		return nil, errors.Join(err, sealed.Close())
	}
	return &openSector{post.SectorAccess{Info: info, Sealed: sealed, Cache: cache}, sealed}, nil
}

func (m *Manager) openReplica(ctx context.Context, id abi.SectorID, t api.FileType) (porep.File, error) {
	if p, ok := m.local.Find(id, t); ok {
		return paths.OpenFile(p.FilePath(id, t), 0)
	}
	urls, err := m.urls(ctx, id, t)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, u := range urls {
		f, err := m.client.Open(ctx, u)
		if err == nil {
			return f, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (m *Manager) openCache(ctx context.Context, id abi.SectorID, t api.FileType) (porep.Files, error) {
	if p, ok := m.local.Find(id, t); ok {
		return paths.CacheDir(p.FilePath(id, t)), nil
	}
	urls, err := m.urls(ctx, id, t)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, u := range urls {
		d := m.client.Dir(ctx, u)
		if _, err := d.List(); err != nil {
			errs = append(errs, err)
			continue
		}
		return d, nil
	}
	return nil, errors.Join(errs...)
}

func (m *Manager) urls(ctx context.Context, id abi.SectorID, t api.FileType) ([]string, error) {
	locs, err := m.StorageFindSector(ctx, id, t)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range locs {
		out = append(out, l.URLs...)
	}
	if len(out) == 0 {
		return nil, &api.ErrNotFound{What: t.String() + " of sector " + api.SectorName(id), Hint: "attach the storage path that has it"}
	}
	return out, nil
}
