package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/storage/paths"
)

const (
	segment    = 32 << 20 // bytes per verified request
	maxFile    = 2 << 40  // bytes; nothing in a sector is larger
	maxListing = 1 << 20  // bytes of a directory listing
	maxMembers = 1000     // files in a directory
)

// ErrChecksum says that bytes changed on the way.
var ErrChecksum = httpx.ErrDigest

// Client fetches from handlers of other processes.
type Client struct {
	http  *httpx.Client
	purse *purse
}

// NewClient makes a client that shows to every server a bearer for the one file
// that it asks for; nil = none. It follows no redirects, and believes a refusal at
// once: its servers are ours, and there may be other copies.
func NewClient(from Bearers) *Client { return newClient(from, 200*time.Millisecond) }

func newClient(from Bearers, pause time.Duration) *Client {
	return &Client{purse: newPurse(from), http: httpx.New(httpx.Config{
		Dial:     15 * time.Second,
		Header:   30 * time.Second,
		Whole:    24 * time.Hour,
		Attempts: 8,
		Refusals: 1,
		RetryMin: pause,
		RetryMax: 10 * time.Second,
	}, httpx.Deps{})}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.Close() }

// do makes one request; other answers than those of the 2xx kind are errors.
func (c *Client) do(ctx context.Context, method, addr string, header http.Header) (*http.Response, error) {
	src, err := c.purse.source(ctx, method, addr)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(ctx, method, src, header)
	if err != nil {
		return nil, typed(addr, c.purse.refused(method, addr, err))
	}
	return res, nil
}

// typed says in the errors of api whose fault it is: what is not there or not
// allowed, whom to wait for, and what our own disk lacks.
func typed(addr string, err error) error {
	e := new(httpx.Error)
	if !errors.As(err, &e) || errors.Is(err, ErrChecksum) || errors.Is(err, context.Canceled) {
		return err
	}
	switch {
	case e.Status == http.StatusNotFound, e.Status == http.StatusGone, e.Status == http.StatusRequestedRangeNotSatisfiable:
		return &api.ErrNotFound{What: addr}
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		return &api.ErrPermission{Method: addr, Need: api.PermStorageRead}
	case e.Fault == httpx.FaultNetwork:
		return fmt.Errorf("%w (%w)", &api.ErrUnreachable{Peer: e.Host, Reason: e.Error()}, err)
	case e.Fault == httpx.FaultLocal:
		if full := paths.AsNoSpace(err, "fetched file", 0); api.IsTemporary(full) {
			return full
		}
		return fmt.Errorf("%w (%w)", &api.ErrBusy{What: "local disk", Reason: e.Error()}, err)
	case e.Status >= 500, e.Status == http.StatusTooManyRequests, errors.Is(err, httpx.ErrChanged):
		return fmt.Errorf("%w (%w)", &api.ErrBusy{What: e.Host, Reason: e.Error()}, err)
	}
	return err
}

// Sector fetches a file, or a directory with all its files, to dst, which is a
// temporary name: rests of an earlier try are continued. Files are synced.
func (c *Client) Sector(ctx context.Context, addr string, t api.FileType, dst string, p func(done, total int64)) error {
	if t&(api.FileCache|api.FileUpdateCache) == 0 {
		return c.File(ctx, addr, dst, p)
	}
	list, err := c.list(ctx, addr)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dst, 0o755); err != nil { //nolint:gosec // as all sector directories
		return fmt.Errorf("fetch %s: %w", addr, err)
	}
	if err := c.members(ctx, addr, list, dst, p); err != nil {
		return err
	}
	return removeUnlisted(dst, list)
}

func (c *Client) members(ctx context.Context, addr string, list Listing, dst string, p func(done, total int64)) error {
	var done, total int64
	for _, f := range list.Files {
		total += f.Size
	}
	for _, f := range list.Files {
		report := func(d, _ int64) {
			if p != nil {
				p(done+d, total)
			}
		}
		if err := c.file(ctx, addr+"/file/"+url.PathEscape(f.Name), filepath.Join(dst, f.Name), report); err != nil {
			return err
		}
		done += f.Size
	}
	return nil
}

// removeUnlisted removes what else lies in a directory that was fetched: what is kept
// beside partial files, and members of an earlier try that the source has no more.
func removeUnlisted(dst string, list Listing) error {
	want := map[string]bool{}
	for _, f := range list.Files {
		want[f.Name] = true
	}
	entries, err := os.ReadDir(dst)
	if err != nil {
		return fmt.Errorf("fetch to %s: %w", dst, err)
	}
	for _, e := range entries {
		if want[e.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dst, e.Name())); err != nil {
			return fmt.Errorf("fetch to %s: %w", dst, err)
		}
	}
	return paths.SyncDir(dst)
}

func (c *Client) list(ctx context.Context, addr string) (Listing, error) {
	res, err := c.do(ctx, http.MethodGet, addr, nil)
	if err != nil {
		return Listing{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	return parseListing(io.LimitReader(res.Body, maxListing))
}

func parseListing(r io.Reader) (Listing, error) {
	var l Listing
	if err := json.NewDecoder(r).Decode(&l); err != nil {
		return l, fmt.Errorf("directory listing: %w", err)
	}
	if len(l.Files) > maxMembers {
		return l, fmt.Errorf("directory listing: more than %d files", maxMembers)
	}
	for _, f := range l.Files {
		if !plainName(f.Name) || strings.HasSuffix(f.Name, httpx.Suffix) || f.Size < 0 || f.Size > maxFile {
			return l, fmt.Errorf("directory listing: entry %q of %d bytes is refused", f.Name, f.Size)
		}
	}
	return l, nil
}

func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\\\x00")
}

// File fetches one file to dst, going on after the verified segments that an
// earlier try left there. A file that is complete already is asked about.
func (c *Client) File(ctx context.Context, addr, dst string, p func(done, total int64)) error {
	if err := c.file(ctx, addr, dst, p); err != nil {
		return err
	}
	return httpx.Forget(dst)
}

func (c *Client) file(ctx context.Context, addr, dst string, p func(done, total int64)) error {
	src, err := c.purse.source(ctx, http.MethodGet, addr)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", addr, err)
	}
	src.Segment = segment
	src.Digest = &httpx.Digest{
		Ask:     http.Header{wantDigest: {"blake2b-256"}},
		Trailer: digestTrailer,
		New:     newSum,
	}
	if err := c.http.Fetch(ctx, src, httpx.File{Path: dst, Perm: 0o644, Progress: p}); err != nil {
		return fmt.Errorf("fetch %s: %w", addr, typed(addr, c.purse.refused(http.MethodGet, addr, err)))
	}
	return nil
}

func newSum() hash.Hash {
	sum, err := blake2b.New256(nil)
	if err != nil {
		panic("fetch: unkeyed blake2b must exist: " + err.Error())
	}
	return sum
}

// Remove asks the server to delete its copies of a file, except those on the
// kept paths.
func (c *Client) Remove(ctx context.Context, addr string, keep ...api.StorageID) error {
	var ids []string
	for _, k := range keep {
		ids = append(ids, string(k))
	}
	res, err := c.do(ctx, http.MethodDelete, addr+"?keep="+url.QueryEscape(strings.Join(ids, ".")), nil)
	if err != nil {
		return fmt.Errorf("remove remote file: %w", err)
	}
	return res.Body.Close()
}
