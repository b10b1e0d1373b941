package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"quarry/internal/httpx"
	"quarry/internal/printable"
)

// Config tunes a Fetcher; zero values take the defaults of Boost.
type Config struct {
	AllowPrivateIPs bool
	Stall           time.Duration // without a byte; 0 = 1 min
	Attempts        int           // in a row without a new farthest byte; 0 = 15
	RetryMin        time.Duration // 0 = 5 s, grows by 1.5
	RetryMax        time.Duration // 0 = 10 min
	Resolver        *net.Resolver // nil = the system's
}

// refusals is how often in a row a server must refuse, or name another length,
// until the deal ends. With the default waits that takes 40 s: a signed URL of a
// clock that is ahead and an upload that is not everywhere yet get through, and a
// dead link does not hold a place for long.
const refusals = 5

// Request is one payload to pull.
type Request struct {
	URL      string
	Headers  map[string]string  // Host names a virtual host
	Size     uint64             // exact number of bytes
	Path     string             // file to write; what an earlier call left is gone on with
	Progress func(bytes uint64) // called with the bytes on disk; may be nil
}

// Fetcher pulls payloads. It is safe for concurrent use; Close frees idle
// connections.
type Fetcher struct{ client *httpx.Client }

// FatalError ends a transfer: repeating it cannot help.
type FatalError struct{ Err error }

func (e *FatalError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *FatalError) Unwrap() error { return e.Err }

// New makes a Fetcher.
func New(cfg Config) *Fetcher {
	guard := onlyPublic
	if cfg.AllowPrivateIPs {
		guard = notMetadata
	}
	return newFetcher(cfg, guard)
}

func newFetcher(cfg Config, guard func(netip.Addr) error) *Fetcher {
	return &Fetcher{client: httpx.New(httpx.Config{
		Stall:     cfg.Stall,
		Attempts:  cfg.Attempts,
		Refusals:  refusals,
		RetryMin:  cfg.RetryMin,
		RetryMax:  cfg.RetryMax,
		Redirects: 2,
		Guard:     guard,
	}, httpx.Deps{Resolver: cfg.Resolver})}
}

// Close frees idle connections.
func (f *Fetcher) Close() { f.client.Close() }

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
		return fmt.Errorf("unknown transfer url scheme %s", printable.Quote(u.Scheme))
	}
	if u.Hostname() == "" {
		return errors.New("transfer url has no host")
	}
	return nil
}

// Fetch returns nil when Path holds exactly Size bytes, synced to disk. A
// *FatalError will not go away by repeating; other errors may: those of the network
// and of our own disk, which end this call at once. All of them wrap an
// *httpx.Error or that of ctx.
func (f *Fetcher) Fetch(ctx context.Context, r Request) error {
	if err := CheckURL(r.URL); err != nil {
		return &FatalError{err}
	}
	src := httpx.Source{URL: r.URL, Header: http.Header{}, Size: int64(min(r.Size, 1<<62))} //nolint:gosec // bounded
	for k, v := range r.Headers {
		src.Header.Set(k, v)
	}
	if src.Size == 0 {
		return &FatalError{errors.New("deal size is 0")}
	}
	err := f.client.Fetch(ctx, src, httpx.File{Path: r.Path, Perm: 0o600, Checked: true, Progress: func(done, _ int64) {
		if r.Progress != nil {
			r.Progress(uint64(done)) //nolint:gosec // not negative
		}
	}})
	if errors.Is(err, httpx.ErrLength) {
		err = fmt.Errorf("deal size mismatch, the server must have neither fewer nor more than the deal's %d bytes: %w", r.Size, err)
	}
	var e *httpx.Error
	if errors.As(err, &e) && e.Permanent {
		return &FatalError{err}
	}
	if e != nil && e.Fault == httpx.FaultLocal {
		return fmt.Errorf("staging file: %w", err)
	}
	return err
}

// Restart is called when the commitment of a pulled file is wrong. True says that
// its bytes came in more than one answer, and that the next Fetch begins at byte 0;
// this happens once. False means that the server's bytes are wrong.
func Restart(path string) (bool, error) { return httpx.Restart(path) }

// Remove deletes a pulled file and what is kept beside it. A file that is not
// there is no error.
func Remove(path string) error {
	err := httpx.Forget(path)
	if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
