package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"sync"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/proofs/porep"
)

// block is the unit in which a RemoteFile reads, in bytes; proofs read many
// small neighbours.
const (
	block     = 64 << 10
	maxBlocks = 64
)

// RemoteFile reads a file of another process at any offset and keeps a few
// blocks. It may be used by several goroutines. It refuses writes.
type RemoteFile struct {
	ctx  context.Context //nolint:containedctx // io.ReaderAt has none; the file lives as long as the request that opened it
	c    *Client
	addr string
	size int64
	etag string

	mu     sync.Mutex
	blocks map[int64][]byte
	order  []int64
}

var errReadOnly = errors.New("remote sector files are read only")

// Open opens a file of another process for reading, until ctx ends. A missing
// one gives *api.ErrNotFound. Size and validator come with its first byte.
func (c *Client) Open(ctx context.Context, addr string) (*RemoteFile, error) {
	f := &RemoteFile{ctx: ctx, c: c, addr: addr, blocks: map[int64][]byte{}}
	src, err := c.purse.source(ctx, http.MethodGet, addr)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(ctx, http.MethodGet, src, http.Header{"Range": {"bytes=0-0"}})
	if e := new(httpx.Error); errors.As(err, &e) && e.Status == http.StatusRequestedRangeNotSatisfiable {
		return f, nil // an empty file has no first byte
	}
	if err != nil {
		return nil, typed(addr, c.purse.refused(http.MethodGet, addr, err))
	}
	defer res.Body.Close() //nolint:errcheck // read only
	span, err := httpx.SpanOf(res)
	if err != nil {
		return nil, fmt.Errorf("%s says no usable size: %w", addr, err)
	}
	f.size, f.etag = span.Total, res.Header.Get("ETag")
	return f, nil
}

// Size is the length in bytes when it was opened.
func (f *RemoteFile) Size() (int64, error) { return f.size, nil }

// Close forgets what was read.
func (f *RemoteFile) Close() error { return nil }

// Sync does nothing.
func (f *RemoteFile) Sync() error { return nil }

// WriteAt is refused.
func (f *RemoteFile) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }

// ReadAt reads like an io.ReaderAt.
func (f *RemoteFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	n := 0
	for n < len(p) && off < f.size {
		b, err := f.load(off / block)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], b[off%block:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *RemoteFile) load(i int64) ([]byte, error) {
	f.mu.Lock()
	b := f.blocks[i]
	f.mu.Unlock()
	if b != nil {
		return b, nil
	}
	from, to := i*block, min((i+1)*block, f.size)
	b, err := f.bytes(from, to)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.blocks[i]; !ok {
		f.order = append(f.order, i)
	}
	f.blocks[i] = b
	if len(f.order) > maxBlocks {
		delete(f.blocks, f.order[0])
		f.order = f.order[1:]
	}
	return b, nil
}

// bytes reads [from, to) of the file as it was when it was opened.
func (f *RemoteFile) bytes(from, to int64) ([]byte, error) {
	ask := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, to-1)}}
	if f.etag != "" {
		ask.Set("If-Match", f.etag)
	}
	res, err := f.c.do(f.ctx, http.MethodGet, f.addr, ask)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	want := httpx.Span{Start: from, End: to, Total: f.size}
	span, err := httpx.SpanOf(res)
	if err == nil && span != want {
		err = fmt.Errorf("asked for %+v, got %+v", want, span)
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not honour ranges, or has changed: %w", f.addr, err)
	}
	b := make([]byte, to-from)
	if _, err := io.ReadFull(res.Body, b); err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", f.addr, from, err)
	}
	return b, nil
}

// RemoteDir is a cache directory of another process, read only.
type RemoteDir struct {
	ctx  context.Context //nolint:containedctx // porep.Files has none; see RemoteFile
	c    *Client
	addr string
}

var _ porep.Files = RemoteDir{}

// Dir gives the directory at addr; nothing is asked yet.
func (c *Client) Dir(ctx context.Context, addr string) RemoteDir { return RemoteDir{ctx, c, addr} }

// Create is refused.
func (d RemoteDir) Create(string, int64) (porep.File, error) { return nil, errReadOnly }

// Remove is refused.
func (d RemoteDir) Remove(string) error { return errReadOnly }

// Open opens one file; a missing one errors.Is fs.ErrNotExist.
func (d RemoteDir) Open(name string) (porep.File, error) {
	f, err := d.c.Open(d.ctx, d.addr+"/file/"+url.PathEscape(name))
	var notFound *api.ErrNotFound
	if errors.As(err, &notFound) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// List names all files.
func (d RemoteDir) List() ([]string, error) {
	l, err := d.c.list(d.ctx, d.addr)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range l.Files {
		out = append(out, f.Name)
	}
	return out, nil
}
