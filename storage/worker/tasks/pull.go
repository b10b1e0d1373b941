package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"

	"quarry/api"
	"quarry/storage/paths"
)

// errTransient marks failures of transport, which say nothing about the data.
var errTransient = errors.New("transfer failed")

const (
	pullStall   = 60 * time.Second // silence after which a connection is given up
	pullRetries = 6                // in a row without a single new byte
)

// puller opens what a DataRef names.
type puller struct {
	local *paths.Local
	http  *http.Client
	pause time.Duration // before the first retry, doubling
	stall time.Duration
}

func newPuller(local *paths.Local, pause time.Duration) *puller {
	return &puller{local: local, pause: pause, stall: pullStall, http: &http.Client{
		Transport: &http.Transport{Proxy: nil, ResponseHeaderTimeout: 30 * time.Second, TLSHandshakeTimeout: 15 * time.Second,
			DisableCompression: true, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			return fmt.Errorf("refused a redirect to %s: a token must not travel", r.URL.Host)
		},
	}}
}

func (p *puller) close() { p.http.CloseIdleConnections() }

// open gives exactly ref.Size bytes: fewer at the source are an error, more are
// never read.
func (p *puller) open(ctx context.Context, ref api.DataRef) (io.ReadCloser, error) {
	switch {
	case ref.StorageID != "" && ref.URL == "":
		return p.openShared(ref)
	case ref.URL != "" && ref.StorageID == "":
		u, err := url.Parse(ref.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, &api.ErrInvalid{What: "piece data", Reason: "its URL is not http(s)://host/..."}
		}
		return &resuming{ctx: ctx, p: p, ref: ref, host: u.Host}, nil
	}
	return nil, &api.ErrInvalid{What: "piece data", Reason: "exactly one of storage path and URL must be set"}
}

func (p *puller) openShared(ref api.DataRef) (io.ReadCloser, error) {
	dir, ok := p.local.Dir(ref.StorageID)
	if !ok {
		return nil, &api.ErrNotFound{What: "storage path " + string(ref.StorageID), Hint: "attach the shared path to this worker"}
	}
	if !filepath.IsLocal(filepath.FromSlash(ref.Path)) || path.Clean(ref.Path) != ref.Path {
		return nil, &api.ErrInvalid{What: "piece data " + ref.Path, Reason: "the path does not stay inside the storage path"}
	}
	root, err := os.OpenRoot(dir) // symbolic links must not lead out either
	if err != nil {
		return nil, fmt.Errorf("open storage path: %w", err)
	}
	defer root.Close() //nolint:errcheck // read only
	f, err := root.Open(filepath.FromSlash(ref.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &api.ErrNotFound{What: "piece data " + ref.Path + " on storage path " + string(ref.StorageID)}
	}
	if err != nil {
		return nil, fmt.Errorf("open piece data: %w", err)
	}
	return &exact{ReadCloser: f, left: ref.Size, name: ref.Path}, nil
}

// exact ends after a number of bytes and complains when there are fewer.
type exact struct {
	io.ReadCloser
	left uint64
	name string
}

func (e *exact) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	if uint64(len(b)) > e.left {
		b = b[:e.left]
	}
	n, err := e.ReadCloser.Read(b)
	e.left -= uint64(n) //nolint:gosec // not negative
	if errors.Is(err, io.EOF) && e.left > 0 {
		return n, &api.ErrInvalid{What: "piece data " + e.name, Reason: fmt.Sprintf("it ends %d bytes early", e.left)}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// resuming reads a URL and connects again, with Range, after a broken transfer.
type resuming struct {
	ctx    context.Context //nolint:containedctx // io.Reader has none; it lives as long as one task
	p      *puller
	ref    api.DataRef
	host   string
	off    uint64
	etag   string
	body   io.ReadCloser
	cancel context.CancelFunc
	timer  *time.Timer
	tries  int
}

func (r *resuming) Read(b []byte) (int, error) {
	if r.off >= r.ref.Size {
		return 0, io.EOF
	}
	if rest := r.ref.Size - r.off; uint64(len(b)) > rest {
		b = b[:rest]
	}
	for {
		err := r.ctx.Err()
		if err != nil {
			return 0, err
		}
		if r.body == nil {
			err = r.connect()
		}
		if err == nil {
			var n int
			n, err = r.body.Read(b)
			if n > 0 {
				r.timer.Reset(r.p.stall)
				r.off += uint64(n) //nolint:gosec // not negative
				r.tries = 0
				return n, nil
			}
			if err == nil {
				continue
			}
		}
		r.drop()
		if !r.again(err) {
			return 0, fmt.Errorf("pull piece data from %s at byte %d of %d: %w", r.host, r.off, r.ref.Size, solid(err))
		}
	}
}

// solid keeps typed errors and turns others into errTransient with their text:
// a broken connection often is an io.EOF inside, which must never look like the
// end of the data.
func solid(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || !isTyped(err) && !errors.Is(err, errTransient) {
		return fmt.Errorf("%w: %s", errTransient, err.Error())
	}
	return err
}

func isTyped(err error) bool {
	var invalid *api.ErrInvalid
	var notFound *api.ErrNotFound
	var perm *api.ErrPermission
	return errors.As(err, &invalid) || errors.As(err, &notFound) || errors.As(err, &perm)
}

// again waits before another try; false means that another is useless.
func (r *resuming) again(err error) bool {
	if isTyped(err) || r.tries >= pullRetries {
		return false
	}
	sleep(r.ctx, r.p.pause<<r.tries)
	r.tries++
	return true
}

func (r *resuming) connect() error {
	ctx, cancel := context.WithCancel(r.ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.ref.URL, nil)
	if err != nil {
		cancel()
		return &api.ErrInvalid{What: "piece data", Reason: "its URL cannot be asked: " + err.Error()}
	}
	if r.ref.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.ref.Token)
	}
	if r.off > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.off))
		if r.etag != "" {
			req.Header.Set("If-Range", r.etag)
		}
	}
	res, err := r.p.http.Do(req)
	if err != nil {
		cancel()
		return fmt.Errorf("%w: %w", errTransient, err)
	}
	if err := r.accept(res); err != nil {
		_ = res.Body.Close()
		cancel()
		return err
	}
	r.body, r.cancel, r.timer = res.Body, cancel, time.AfterFunc(r.p.stall, cancel)
	return nil
}

func (r *resuming) accept(res *http.Response) error {
	switch res.StatusCode {
	case http.StatusOK:
		if r.off > 0 { // no Range there, or other bytes now; commitments decide, from the start
			if _, err := io.CopyN(io.Discard, res.Body, int64(r.off)); err != nil { //nolint:gosec // below 2^62
				return fmt.Errorf("%w: skip to byte %d: %w", errTransient, r.off, err)
			}
		}
		if res.ContentLength >= 0 && uint64(res.ContentLength) < r.ref.Size { //nolint:gosec // not negative
			return &api.ErrInvalid{What: "piece data at " + r.host, Reason: fmt.Sprintf("it has %d bytes instead of %d", res.ContentLength, r.ref.Size)}
		}
	case http.StatusPartialContent:
		var from int64
		if n, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || n != 1 || uint64(from) != r.off { //nolint:gosec // compared only
			return fmt.Errorf("%w: asked for byte %d, got range %q", errTransient, r.off, res.Header.Get("Content-Range"))
		}
	case http.StatusNotFound, http.StatusGone:
		return &api.ErrNotFound{What: "piece data at " + r.host}
	case http.StatusUnauthorized, http.StatusForbidden:
		return &api.ErrPermission{Method: "pull piece data from " + r.host, Need: api.PermRead}
	case http.StatusRequestedRangeNotSatisfiable:
		return &api.ErrInvalid{What: "piece data at " + r.host, Reason: fmt.Sprintf("it ends before byte %d", r.off)}
	default:
		return fmt.Errorf("%w: %s answered %s", errTransient, r.host, res.Status)
	}
	r.etag = res.Header.Get("ETag")
	return nil
}

func (r *resuming) drop() {
	if r.body != nil {
		r.timer.Stop()
		_ = r.body.Close()
		r.cancel()
		r.body = nil
	}
}

// Close ends the connection.
func (r *resuming) Close() error {
	r.drop()
	return nil
}
