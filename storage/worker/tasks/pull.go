package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/storage/paths"
)

// errTransient marks failures of transport, which say nothing about the data.
var errTransient = errors.New("transfer failed")

// puller opens what a DataRef names.
type puller struct {
	local *paths.Local
	http  *httpx.Client
}

// newPuller makes a puller. Its sources are ours: it follows no redirects, and a
// refusal is believed at the third time, as a node that starts may not know its
// tokens yet.
func newPuller(local *paths.Local, pause time.Duration) *puller {
	return &puller{local: local, http: httpx.New(httpx.Config{
		Dial:     15 * time.Second,
		Header:   30 * time.Second,
		Whole:    24 * time.Hour,
		Attempts: 8,
		Refusals: 3,
		RetryMin: pause,
		RetryMax: 30 * time.Second,
		Guard:    noLinkLocal,
	}, httpx.Deps{})}
}

// noLinkLocal refuses addresses at which nobody hands over pieces, but hosts in
// clouds tell their secrets.
func noLinkLocal(a netip.Addr) error {
	if a = a.Unmap(); a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a == awsMetadata {
		return errors.New("pieces are not pulled from link-local, multicast and metadata addresses")
	}
	return nil
}

// awsMetadata is where a cloud serves its metadata over IPv6.
var awsMetadata = netip.MustParseAddr("fd00:ec2::254")

func (p *puller) close() { p.http.Close() }

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
		return p.openURL(ctx, ref, u.Host)
	}
	return nil, &api.ErrInvalid{What: "piece data", Reason: "exactly one of storage path and URL must be set"}
}

func (p *puller) openURL(ctx context.Context, ref api.DataRef, host string) (io.ReadCloser, error) {
	if ref.Size > 1<<62 {
		return nil, &api.ErrInvalid{What: "piece data", Reason: "its size is out of bounds"}
	}
	s, err := p.http.Open(ctx, httpx.Source{
		URL:    ref.URL,
		Bearer: func() string { return ref.Token },
		Size:   int64(ref.Size), //nolint:gosec // bounded
	})
	if err != nil {
		return nil, &api.ErrInvalid{What: "piece data", Reason: "its URL cannot be asked: " + err.Error()}
	}
	return &remote{s, host}, nil
}

// openShared opens a file of a storage path that two processes share. Nothing of the
// path outside of api.SharedDir can be named: the file is sealed, and whoever named
// it reads it back out of the sector.
func (p *puller) openShared(ref api.DataRef) (io.ReadCloser, error) {
	dir, ok := p.local.Dir(ref.StorageID)
	if !ok {
		return nil, &api.ErrNotFound{What: "storage path " + string(ref.StorageID), Hint: "attach the shared path to this worker"}
	}
	if !filepath.IsLocal(filepath.FromSlash(ref.Path)) || path.Clean(ref.Path) != ref.Path {
		return nil, &api.ErrInvalid{What: "piece data " + ref.Path, Reason: "the path does not stay inside the storage path"}
	}
	within, ok := strings.CutPrefix(ref.Path, api.SharedDir+"/")
	if !ok {
		return nil, &api.ErrInvalid{
			What:   "piece data " + ref.Path,
			Reason: "it does not lie in the directory " + api.SharedDir + " of the storage path",
			Hint:   "put it there",
		}
	}
	root, err := os.OpenRoot(filepath.Join(dir, api.SharedDir)) // symbolic links must not lead out either
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &api.ErrNotFound{What: "directory " + api.SharedDir + " of storage path " + string(ref.StorageID)}
	}
	if err != nil {
		return nil, fmt.Errorf("open storage path: %w", ofDisk(err))
	}
	defer root.Close() //nolint:errcheck // read only
	f, err := root.Open(filepath.FromSlash(within))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &api.ErrNotFound{What: "piece data " + ref.Path + " on storage path " + string(ref.StorageID)}
	}
	if err != nil {
		return nil, fmt.Errorf("open piece data: %w", ofDisk(err))
	}
	return &exact{ReadCloser: f, left: ref.Size, name: ref.Path}, nil
}

// ofDisk marks what the system says of a disk as passing: it is nothing about the
// data. A path that leads out of its root is no such thing.
func ofDisk(err error) error {
	if no := syscall.Errno(0); errors.As(err, &no) {
		return fmt.Errorf("%w: %w", errTransient, err)
	}
	return err
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
		return n, nil
	}
	return n, ofDisk(err)
}

// remote is a stream from a URL.
type remote struct {
	*httpx.Stream
	host string
}

// Read says in typed errors whose fault it is. Failures of transport become
// errTransient: they say nothing about the data.
func (r *remote) Read(b []byte) (int, error) {
	n, err := r.Stream.Read(b)
	e := new(httpx.Error)
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return n, err
	}
	what := "piece data at " + r.host
	switch {
	case !e.Permanent:
	case e.Status == http.StatusNotFound, e.Status == http.StatusGone:
		return n, &api.ErrNotFound{What: what}
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		return n, &api.ErrPermission{Method: "pull piece data from " + r.host, Need: api.PermRead}
	case e.Fault == httpx.FaultCaller, errors.Is(err, httpx.ErrLength):
		return n, &api.ErrInvalid{What: what, Reason: e.Error()}
	}
	return n, fmt.Errorf("%w: pull piece data: %w", errTransient, err)
}

// throughout runs f on the bytes of a piece. When they came in more than one answer
// and are not those of the commitment, or changed on the way, f runs once more on
// them from the first byte: a part may have been of other bytes.
func throughout(open func() (io.ReadCloser, error), f func(io.Reader) error) error {
	for again := false; ; again = true {
		src, err := open()
		if err != nil {
			return err
		}
		err = f(src)
		_ = src.Close() // read only
		r, far := src.(*remote)
		wrong := errors.As(err, new(*api.ErrPieceMismatch)) && far && r.Joined()
		if again || !wrong && !errors.Is(err, httpx.ErrChanged) {
			return err
		}
	}
}
