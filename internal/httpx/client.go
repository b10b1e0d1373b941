package httpx

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Config of a Client. Zero values take the defaults named.
type Config struct {
	Dial   time.Duration // to connect, and again for TLS; 0 = 30 s
	Header time.Duration // from the request to the first header; 0 = 1 min
	Stall  time.Duration // without a byte; 0 = 1 min
	Whole  time.Duration // of a Fetch or a stream; 0 = a week

	Attempts      int           // in a row without a new farthest byte; 0 = 15
	Refusals      int           // same ones in a row that are believed; 0 = 5
	RetryMin      time.Duration // before another attempt, growing by 1.5; 0 = 5 s
	RetryMax      time.Duration // 0 = 10 min
	RetryAfterMax time.Duration // the most that a server's Retry-After is obeyed; 0 = 10 min

	Redirects int // followed; 0 = none

	// Guard is asked about each address right before it is connected to, after
	// names were resolved and on every redirect; nil = all are allowed. Its error
	// ends the transfer.
	Guard func(netip.Addr) error
}

// Deps of a Client. Zero values are the real network.
type Deps struct {
	Resolver *net.Resolver
	// Dial replaces the guarded dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client holds connections. It is safe for concurrent use; Close frees what is
// idle.
type Client struct {
	cfg  Config
	http *http.Transport
}

const maxHeader = 64 << 10 // bytes of an answer's header

// New makes a Client. Proxies of the environment are ignored: they would hide the
// address that is really dialled.
func New(cfg Config, deps Deps) *Client {
	cfg = withDefaults(cfg)
	if deps.Dial == nil {
		deps.Dial = dialer(cfg, deps.Resolver)
	}
	return &Client{cfg: cfg, http: &http.Transport{
		DialContext:            deps.Dial,
		TLSHandshakeTimeout:    cfg.Dial,
		ResponseHeaderTimeout:  cfg.Header,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    4,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}}
}

func withDefaults(c Config) Config {
	for d, def := range map[*time.Duration]time.Duration{
		&c.Dial:          30 * time.Second,
		&c.Header:        time.Minute,
		&c.Stall:         time.Minute,
		&c.Whole:         7 * 24 * time.Hour,
		&c.RetryMin:      5 * time.Second,
		&c.RetryMax:      10 * time.Minute,
		&c.RetryAfterMax: 10 * time.Minute,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	if c.Attempts <= 0 {
		c.Attempts = 15
	}
	if c.Refusals <= 0 {
		c.Refusals = 5
	}
	return c
}

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// refusedAddr is the guard's word, which no retry changes.
type refusedAddr struct{ err error }

func (e *refusedAddr) Error() string { return e.err.Error() }
func (e *refusedAddr) Unwrap() error { return e.err }

func dialer(cfg Config, r *net.Resolver) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: cfg.Dial, KeepAlive: 30 * time.Second, Resolver: r}
	if cfg.Guard == nil {
		return d.DialContext
	}
	d.Control = func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err == nil {
			err = cfg.Guard(ap.Addr())
		}
		if err != nil {
			return &refusedAddr{fmt.Errorf("%w (%s)", err, address)}
		}
		return nil
	}
	return d.DialContext
}
