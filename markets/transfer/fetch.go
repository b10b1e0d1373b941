package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config tunes a Fetcher; zero values take the defaults of Boost.
type Config struct {
	AllowPrivateIPs bool
	Stall           time.Duration // without a byte; 0 = 1 min
	Attempts        int           // in a row without a byte; 0 = 15
	RetryMin        time.Duration // 0 = 5 s, grows by 1.5
	RetryMax        time.Duration // 0 = 10 min
}

// Request is one payload to pull.
type Request struct {
	URL      string
	Headers  map[string]string
	Size     uint64             // exact number of bytes
	Path     string             // file to write; what it holds already is kept
	Progress func(bytes uint64) // called with the bytes on disk; may be nil
}

// Fetcher pulls payloads. It is safe for concurrent use; Close frees idle
// connections.
type Fetcher struct {
	cfg    Config
	client *http.Client
}

// FatalError ends a transfer: repeating it cannot help.
type FatalError struct{ Err error }

func (e *FatalError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *FatalError) Unwrap() error { return e.Err }

// diskError is a failure of our own disk. It is no reason to ask the client's
// server again, nor to give the deal up: whoever called tries later.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

func fatal(format string, args ...any) error { return &FatalError{fmt.Errorf(format, args...)} }

// New makes a Fetcher.
func New(cfg Config) *Fetcher {
	if cfg.Stall == 0 {
		cfg.Stall = time.Minute
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 15
	}
	if cfg.RetryMin == 0 {
		cfg.RetryMin = 5 * time.Second
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = 10 * time.Minute
	}
	return &Fetcher{cfg: cfg, client: NewClient(cfg.AllowPrivateIPs)}
}

// Close frees idle connections.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// CheckURL refuses what Fetch could never pull.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("parse transfer url: %w", err)
	}
	switch u.Scheme {
	case "http", "https":
	case "libp2p":
		return errors.New("transfers from libp2p urls are not built yet; use http or https")
	default:
		return fmt.Errorf("unknown transfer url scheme %q", u.Scheme)
	}
	if u.Hostname() == "" {
		return errors.New("transfer url has no host")
	}
	return nil
}

// Fetch returns nil when Path holds exactly Size bytes, synced to disk. A
// *FatalError will not go away by repeating; other errors may, also those of our
// own disk, which end this call at once.
func (f *Fetcher) Fetch(ctx context.Context, r Request) error {
	if err := CheckURL(r.URL); err != nil {
		return &FatalError{err}
	}
	file, err := os.OpenFile(r.Path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open staging file: %w", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	have := uint64(st.Size())
	if have > r.Size {
		return fatal("deal size=%d but file size=%d", r.Size, have)
	}
	if err := f.loop(ctx, r, file, have); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync staging file %s: %w", r.Path, err)
	}
	return nil
}

func (f *Fetcher) loop(ctx context.Context, r Request, file *os.File, have uint64) error {
	if have == r.Size {
		return nil
	}
	if err := f.probe(ctx, r); err != nil {
		return err
	}
	wait, failed := f.cfg.RetryMin, 0
	for have < r.Size {
		next, err := f.once(ctx, r, file, have)
		if err == nil {
			return nil
		}
		var fe *FatalError
		var own *diskError
		if errors.As(err, &fe) || errors.As(err, &own) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		failed++
		if next > have {
			failed, wait = 0, f.cfg.RetryMin
		}
		have = next
		if failed >= f.cfg.Attempts {
			return fatal("could not finish transfer even after %d attempts, lastErr: %w", f.cfg.Attempts, err)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(wait+wait/2, f.cfg.RetryMax)
	}
	return nil
}

// probe asks for the length first so that a lie is found before any byte is
// pulled. Stores that refuse HEAD, or do not tell, are found out by the GET.
func (f *Fetcher) probe(ctx context.Context, r Request) error {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Stall)
	defer cancel()
	req, err := request(ctx, http.MethodHead, r)
	if err != nil {
		return err
	}
	resp, err := f.client.Do(req)
	if errors.Is(err, ErrPrivateAddress) {
		return &FatalError{err}
	}
	if err != nil {
		return nil //nolint:nilerr // the GET retries and reports
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK && resp.ContentLength >= 0 && uint64(resp.ContentLength) != r.Size {
		return fatal("deal size mismatch: head: %d, dealInfo: %d", resp.ContentLength, r.Size)
	}
	return nil
}

func request(ctx context.Context, method string, r Request) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.URL, nil)
	if err != nil {
		return nil, &FatalError{err}
	}
	for k, v := range r.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Accept-Encoding", "identity")
	return req, nil
}

// once makes one GET from offset have and returns how many bytes are on disk.
func (f *Fetcher) once(ctx context.Context, r Request, file *os.File, have uint64) (uint64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(f.cfg.Stall, func() { cancel(fmt.Errorf("no data for %s", f.cfg.Stall)) })
	defer stalled.Stop()
	req, err := request(ctx, http.MethodGet, r)
	if err != nil {
		return have, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", have, r.Size-1))
	resp, err := f.client.Do(req)
	if err != nil {
		if errors.Is(err, ErrPrivateAddress) {
			return have, &FatalError{err}
		}
		return have, because(ctx, err)
	}
	defer resp.Body.Close()
	start, err := f.accept(r, resp, have)
	if err != nil {
		return have, err
	}
	if start < have { // never leave old bytes behind the new ones
		if err := file.Truncate(int64(start)); err != nil {
			return have, fmt.Errorf("truncate staging file %s: %w", r.Path, err)
		}
		have = start
	}
	return f.copy(ctx, r, file, resp.Body, have, stalled)
}

// accept judges the status line and returns where writing starts.
func (f *Fetcher) accept(r Request, resp *http.Response, have uint64) (uint64, error) {
	switch c := resp.StatusCode; {
	case c == http.StatusPartialContent:
		return have, checkContentRange(resp.Header.Get("Content-Range"), have, r.Size)
	case c == http.StatusOK: // the server ignored the range: from the start
		if resp.ContentLength >= 0 && uint64(resp.ContentLength) != r.Size {
			return have, fatal("deal size mismatch: get: %d, dealInfo: %d", resp.ContentLength, r.Size)
		}
		return 0, nil
	case c == http.StatusRequestTimeout || c == http.StatusTooManyRequests || c >= 500:
		return have, fmt.Errorf("server answered %s", resp.Status)
	default:
		return have, fatal("server answered %s", resp.Status)
	}
}

func checkContentRange(h string, start, size uint64) error {
	rng, total, ok := strings.Cut(strings.TrimPrefix(h, "bytes "), "/")
	first, _, ok2 := strings.Cut(rng, "-")
	n, err := strconv.ParseUint(first, 10, 64)
	if !ok || !ok2 || err != nil || n != start {
		return fatal("asked for bytes from %d, server answered Content-Range %q", start, h)
	}
	if total != "*" && total != strconv.FormatUint(size, 10) {
		return fatal("deal size mismatch: content-range: %s, dealInfo: %d", total, size)
	}
	return nil
}

func (f *Fetcher) copy(ctx context.Context, r Request, file *os.File, body io.Reader, have uint64, stalled *time.Timer) (uint64, error) {
	buf := make([]byte, min(1<<20, r.Size-have+1))
	for {
		n, err := body.Read(buf)
		if n > 0 {
			stalled.Reset(f.cfg.Stall)
			if uint64(n) > r.Size-have {
				return have, fatal("server sent more than the deal's %d bytes", r.Size)
			}
			if _, werr := file.WriteAt(buf[:n], int64(have)); werr != nil {
				return have, &diskError{fmt.Errorf("write staging file %s (free space there; the transfer goes on from %d bytes): %w", r.Path, have, werr)}
			}
			have += uint64(n)
			if r.Progress != nil {
				r.Progress(have)
			}
		}
		switch {
		case err == io.EOF && have == r.Size:
			return have, nil
		case err == io.EOF:
			return have, fmt.Errorf("connection ended after %d of %d bytes", have, r.Size)
		case err != nil:
			return have, because(ctx, err)
		}
	}
}

func because(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return fmt.Errorf("%w (%w)", c, err)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
