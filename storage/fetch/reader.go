package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/fr32"
	"quarry/storage/index"
	"quarry/storage/paths"
)

// Index is what reading needs of the index; a subset of api.Storage.
type Index interface {
	StorageFindSector(ctx context.Context, s abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error)
	Bearers
	index.Locker
}

// UnsealedReader reads the payload of an unsealed range: unpadded bytes, Size()
// of them. ReadAt may be used by several goroutines.
type UnsealedReader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// ReaderConfig of a Reader.
type ReaderConfig struct {
	Holder string // printed where a lock is in somebody's way
}

// ReaderDeps of a Reader.
type ReaderDeps struct {
	Local *paths.Local // nil: no shared paths
	Index Index
	Log   *slog.Logger
}

// Reader opens unsealed ranges wherever they are.
type Reader struct {
	cfg    ReaderConfig
	local  *paths.Local
	idx    Index
	log    *slog.Logger
	client *Client
}

// NewReader makes a Reader.
func NewReader(cfg ReaderConfig, deps ReaderDeps) *Reader {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Holder == "" {
		cfg.Holder = "reader of unsealed data"
	}
	return &Reader{
		cfg:    cfg,
		local:  deps.Local,
		idx:    deps.Index,
		log:    deps.Log,
		client: NewClient(deps.Index),
	}
}

// Close drops idle connections; open readers stay usable.
func (r *Reader) Close() { r.client.Close() }

// OpenUnsealed opens a padded range of a sector's unsealed file: a local path
// first, then HTTP. The file is locked for reading until Close, and ctx bounds
// the whole life of the reader. It returns *api.ErrNotFound when no readable
// copy of the range exists, and *api.ErrLocked when the file is being written. A
// copy on a path of ours is read without a lock while the index cannot be
// reached: the file is open, and says itself which ranges it holds.
func (r *Reader) OpenUnsealed(ctx context.Context, sector abi.SectorID, offset, size abi.PaddedPieceSize) (UnsealedReader, error) {
	if size == 0 || offset%fr32.QuadPadded != 0 || size%fr32.QuadPadded != 0 {
		return nil, &api.ErrInvalid{What: fmt.Sprintf("unsealed range %d+%d", offset, size),
			Reason: "it is not made of whole 128-byte quads"}
	}
	near := r.onPath(sector, offset, size)
	held, release, err := r.hold(ctx, sector, near != nil)
	if near != nil {
		var away *api.ErrUnreachable
		if errors.As(err, &away) {
			return unpad(ctx, near, offset, size, near.Close), nil
		}
		_ = near.Close() // opened again under the lock
	}
	if err != nil {
		return nil, fmt.Errorf("read unsealed sector %s: %w", api.SectorName(sector), err)
	}
	src, closer, err := r.source(held, sector, offset, size)
	if err != nil {
		release()
		return nil, err
	}
	return unpad(held, src, offset, size, func() error { defer release(); return closer.Close() }), nil
}

func (r *Reader) source(ctx context.Context, sector abi.SectorID, offset, size abi.PaddedPieceSize) (io.ReaderAt, io.Closer, error) {
	missing := &api.ErrNotFound{What: fmt.Sprintf("unsealed range %d+%d of sector %s", offset, size, api.SectorName(sector)),
		Hint: "unseal the sector"}
	if f := r.onPath(sector, offset, size); f != nil {
		return f, f, nil
	}
	locs, err := r.idx.StorageFindSector(ctx, sector, api.FileUnsealed)
	if err != nil {
		return nil, nil, fmt.Errorf("find unsealed sector %s: %w", api.SectorName(sector), err)
	}
	var errs []error
	for _, l := range locs {
		for _, u := range l.URLs {
			f, err := r.remote(ctx, u, offset, size)
			if err == nil {
				return f, f, nil
			}
			var notFound *api.ErrNotFound
			if !errors.As(err, &notFound) {
				r.log.Warn("a copy of an unsealed sector cannot be read", "sector", api.SectorName(sector), "url", u, "err", err)
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		return nil, nil, fmt.Errorf("read unsealed sector %s: %w", api.SectorName(sector), errors.Join(errs...))
	}
	return nil, nil, missing
}

func (r *Reader) remote(ctx context.Context, addr string, offset, size abi.PaddedPieceSize) (*RemoteFile, error) {
	res, err := r.client.do(ctx, http.MethodGet, fmt.Sprintf("%s/allocated/%d/%d", addr, offset, size), nil)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	return r.client.Open(ctx, addr)
}

// unpadded shows the payload of padded bytes.
type unpadded struct {
	ctx   context.Context //nolint:containedctx // the lease: it ends when the lock is lost
	src   io.ReaderAt
	base  int64 // padded
	size  int64 // payload
	close func() error
}

func (u *unpadded) Size() int64  { return u.size }
func (u *unpadded) Close() error { return u.close() }

// ReadAt reads payload bytes; it fails once the lock is lost.
func (u *unpadded) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	n := 0
	buf := make([]byte, min(int64(len(p))/fr32.QuadUnpadded+2, 512)*fr32.QuadPadded)
	out := make([]byte, len(buf)/fr32.QuadPadded*fr32.QuadUnpadded)
	for n < len(p) && off < u.size {
		if err := context.Cause(u.ctx); err != nil {
			return n, err
		}
		quad := off / fr32.QuadUnpadded
		want := min(int64(len(buf)), (u.size/fr32.QuadUnpadded-quad)*fr32.QuadPadded)
		if _, err := io.ReadFull(io.NewSectionReader(u.src, u.base+quad*fr32.QuadPadded, want), buf[:want]); err != nil {
			return n, fmt.Errorf("read unsealed file: %w", err)
		}
		fr32.Unpad(buf[:want], out[:want/fr32.QuadPadded*fr32.QuadUnpadded])
		k := copy(p[n:], out[off%fr32.QuadUnpadded:want/fr32.QuadPadded*fr32.QuadUnpadded])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
