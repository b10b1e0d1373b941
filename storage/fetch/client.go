package fetch

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/storage/paths"
)

const (
	segment    = 32 << 20         // bytes per verified request
	maxFile    = 2 << 40          // bytes; nothing in a sector is larger
	maxListing = 1 << 20          // bytes of a directory listing
	maxMembers = 1000             // files in a directory
	stall      = 60 * time.Second // silence after which a response is given up
	retries    = 5                // of one segment
)

// ErrChecksum says that bytes changed on the way.
var ErrChecksum = errors.New("checksum of fetched bytes does not match")

// Client fetches from handlers of other processes.
type Client struct {
	http  *http.Client
	token func() string
	pause time.Duration // before the first retry, doubling
}

// NewClient makes a client that presents token() to every server; nil = no
// token.
func NewClient(token func() string) *Client {
	if token == nil {
		token = func() string { return "" }
	}
	return &Client{token: token, pause: 200 * time.Millisecond, http: &http.Client{
		Transport: &http.Transport{
			Proxy: nil, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
			ResponseHeaderTimeout: 30 * time.Second, TLSHandshakeTimeout: 15 * time.Second,
		},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			return fmt.Errorf("refused a redirect to %s: a token must not travel", r.URL.Host)
		},
	}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends a request whose body ends with an error after stall of silence.
func (c *Client) do(ctx context.Context, method, addr string, header map[string]string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r, err := http.NewRequestWithContext(ctx, method, addr, nil)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	if t := c.token(); t != "" && r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", "Bearer "+t)
	}
	res, err := c.http.Do(r)
	if err != nil {
		cancel(nil)
		return nil, &api.ErrUnreachable{Peer: r.URL.Host, Reason: err.Error()}
	}
	res.Body = &watched{ReadCloser: res.Body, cancel: cancel, timer: time.AfterFunc(stall, func() {
		cancel(fmt.Errorf("no byte came for %s", stall))
	})}
	if res.StatusCode >= 300 {
		defer res.Body.Close() //nolint:errcheck // read only
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300))
		return nil, statusErr(addr, res.StatusCode, strings.TrimSpace(string(text)))
	}
	return res, nil
}

func statusErr(addr string, code int, text string) error {
	switch code {
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
		return &api.ErrNotFound{What: addr}
	case http.StatusUnauthorized, http.StatusForbidden:
		return &api.ErrPermission{Method: addr, Need: api.PermStorageRead}
	}
	return fmt.Errorf("%s answered %d: %s", addr, code, text)
}

// watched restarts a timer at every byte.
type watched struct {
	io.ReadCloser
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.timer.Reset(stall)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.cancel(nil)
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
		if err := c.File(ctx, addr+"/file/"+url.PathEscape(f.Name), filepath.Join(dst, f.Name), report); err != nil {
			return err
		}
		done += f.Size
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
		if f.Name == "" || f.Name == "." || f.Name == ".." || strings.ContainsAny(f.Name, "/\\\x00") || f.Size < 0 || f.Size > maxFile {
			return l, fmt.Errorf("directory listing: entry %q of %d bytes is refused", f.Name, f.Size)
		}
	}
	return l, nil
}

// File fetches one file to dst, going on after the verified segments that dst
// holds already.
func (c *Client) File(ctx context.Context, addr, dst string, p func(done, total int64)) error {
	f, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // as all sector files
	if err != nil {
		return fmt.Errorf("fetch %s: %w", addr, err)
	}
	err = c.segments(ctx, addr, f, p)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("fetch %s: %w", addr, paths.AsNoSpace(err, "fetched file", 0))
	}
	return nil
}

func (c *Client) segments(ctx context.Context, addr string, f *os.File, p func(done, total int64)) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	etag, pos := "", st.Size()/segment*segment // the rest is not verified
	for {
		got, total, tag, err := c.retry(ctx, addr, f, pos)
		if err != nil {
			return err
		}
		if etag != "" && tag != etag {
			return errors.Join(fmt.Errorf("the file changed while it was fetched"), f.Truncate(0))
		}
		etag, pos = tag, pos+got
		if p != nil {
			p(pos, total)
		}
		if pos >= total {
			return f.Truncate(total)
		}
	}
}

func (c *Client) retry(ctx context.Context, addr string, f *os.File, pos int64) (got, total int64, tag string, err error) {
	for i := 0; ; i++ {
		got, total, tag, err = c.one(ctx, addr, f, pos)
		var notFound *api.ErrNotFound
		var perm *api.ErrPermission
		if err == nil || ctx.Err() != nil || i == retries || errors.As(err, &notFound) || errors.As(err, &perm) {
			return got, total, tag, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.pause << i):
		}
	}
}

// one fetches and verifies the segment at pos.
func (c *Client) one(ctx context.Context, addr string, f *os.File, pos int64) (int64, int64, string, error) {
	res, err := c.do(ctx, http.MethodGet, addr, map[string]string{
		wantDigest: "blake2b-256", "Range": fmt.Sprintf("bytes=%d-%d", pos, pos+segment-1)})
	if err != nil {
		var notFound *api.ErrNotFound
		if errors.As(err, &notFound) {
			return c.maybeEmpty(ctx, addr, pos, err)
		}
		return 0, 0, "", err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	var from, to, total int64
	if n, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total); err != nil || n != 3 ||
		from != pos || total < 0 || total > maxFile || to != min(pos+segment, total)-1 {
		return 0, 0, "", fmt.Errorf("server does not honour ranges (Content-Range %q)", res.Header.Get("Content-Range"))
	}
	sum, err := blake2b.New256(nil)
	if err != nil {
		return 0, 0, "", err
	}
	n, err := io.Copy(io.MultiWriter(io.NewOffsetWriter(f, pos), sum), io.LimitReader(res.Body, to-from+2))
	if err != nil {
		return 0, 0, "", fmt.Errorf("read at %d: %w", pos+n, err)
	}
	if n != to-from+1 {
		return 0, 0, "", fmt.Errorf("read at %d: got %d of %d bytes", pos, n, to-from+1)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != res.Trailer.Get(digestTrailer) {
		return 0, 0, "", fmt.Errorf("%w (bytes %d to %d)", ErrChecksum, from, to)
	}
	return n, total, res.Header.Get("ETag"), nil
}

// maybeEmpty tells an empty or just completed file from a missing one: neither
// has a byte at pos.
func (c *Client) maybeEmpty(ctx context.Context, addr string, pos int64, cause error) (int64, int64, string, error) {
	res, err := c.do(ctx, http.MethodHead, addr, nil)
	if err != nil {
		return 0, 0, "", cause
	}
	defer res.Body.Close() //nolint:errcheck // no body
	if size, err := strconv.ParseInt(res.Header.Get(fileSize), 10, 64); err != nil || size > pos {
		return 0, 0, "", cause
	} else if size < pos {
		return 0, size, "", errors.New("the file is shorter than what was fetched before")
	}
	return 0, pos, res.Header.Get("ETag"), nil
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
