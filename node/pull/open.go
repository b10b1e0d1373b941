package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"quarry/api"
	"quarry/internal/printable"
	"quarry/internal/secret"
)

// OpenerConfig of an Opener. Zero values mean the defaults stated.
type OpenerConfig struct {
	Base     string           // http(s) URL of the markets node's API
	Token    secret.String    // role link, made there
	Perms    []api.Permission // what the markets node may do; it is asked nowhere else
	MaxCall  int64            // bytes of one call; 10 MiB
	Calls    int              // being answered at once; 256
	Answer   int64            // bytes of one answer; 64 MiB
	Silence  time.Duration    // without a byte from the markets node: the link is lost; 35 s
	RetryMin time.Duration    // between two tries; 1 s
	RetryMax time.Duration    // it doubles up to this; 30 s
}

// OpenerDeps of an Opener.
type OpenerDeps struct {
	// Introduce says who this process is.
	Introduce func() api.Introduction
	// Meet says why the process that accepts the link is not the markets node of
	// this one, nil where it is.
	Meet func(api.Identity) error
	// Answer serves one JSON-RPC call of a caller that holds perms.
	Answer func(ctx context.Context, perms []api.Permission, call []byte) []byte
	Log    *slog.Logger
}

// Opener is the private node's end: it keeps one link to the markets node open and
// answers what comes over it.
type Opener struct {
	cfg  OpenerConfig
	deps OpenerDeps
	url  string

	mu     sync.Mutex
	status api.LinkStatus
}

// NewOpener makes one; Run opens the link.
func NewOpener(cfg OpenerConfig, deps OpenerDeps) (*Opener, error) {
	if !strings.HasPrefix(cfg.Base, "http://") && !strings.HasPrefix(cfg.Base, "https://") {
		return nil, &api.ErrInvalid{What: "address of the markets node", Reason: "it is no http or https URL"}
	}
	if cfg.Token.Empty() {
		return nil, &api.ErrInvalid{What: "address of the markets node", Reason: "no token stands before it", Hint: hintToken}
	}
	cfg.fill()
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	o := &Opener{cfg: cfg, deps: deps, url: "ws" + strings.TrimPrefix(cfg.Base, "http") + routeLink}
	_, peer, _ := strings.Cut(cfg.Base, "://")
	o.status = api.LinkStatus{Opens: true, Peer: peer, Since: time.Now(), LastError: notOpened}
	return o, nil
}

// notOpened is the trouble of a link before the first try.
const notOpened = "it was not opened yet"

// opened is a status from now on; what was wrong before stays told.
func opened(s api.LinkStatus) api.LinkStatus {
	s.Connected, s.Since = true, time.Now()
	if s.LastError == notOpened {
		s.LastError = ""
	}
	return s
}

const hintToken = "make one on the markets node with: miner --call-on-markets auth api-info --role link"

func (cfg *OpenerConfig) fill() {
	if cfg.MaxCall <= 0 {
		cfg.MaxCall = defaultMaxCall
	}
	if cfg.Calls <= 0 {
		cfg.Calls = 256
	}
	if cfg.Answer <= 0 {
		cfg.Answer = defaultMaxAnswer
	}
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&cfg.Silence, defaultSilence}, {&cfg.RetryMin, time.Second}, {&cfg.RetryMax, 30 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.zero
		}
	}
}

// Status tells how the link stands.
func (o *Opener) Status() api.LinkStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status
}

// Run keeps the link open until ctx ends: what ends it is tried again for ever,
// sooner after a link that lasted.
func (o *Opener) Run(ctx context.Context) error {
	pause := o.cfg.RetryMin
	for {
		began := time.Now()
		err := o.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		o.lost(err)
		if time.Since(began) > o.cfg.RetryMax {
			pause = o.cfg.RetryMin
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause/2+1)): // chance only spreads the tries
		}
		pause = min(2*pause, o.cfg.RetryMax)
	}
}

// lost notes why there is no link. The same reason is told once.
func (o *Opener) lost(err error) {
	o.mu.Lock()
	same := !o.status.Connected && o.status.LastError == err.Error()
	if o.status.Connected {
		o.status.Connected, o.status.Since = false, time.Now()
	}
	o.status.LastError = err.Error()
	peer := o.status.Peer
	o.mu.Unlock()
	if !same {
		o.deps.Log.Warn("no link to the markets node, it is tried for ever", "markets", peer, "error", err)
	}
}

// once opens the link and serves it until it is lost.
func (o *Opener) once(ctx context.Context) error {
	w, err := o.dial(ctx)
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.status = opened(o.status)
	peer := o.status.Peer
	o.mu.Unlock()
	o.deps.Log.Info("linked to the markets node", "markets", peer)
	return newAnswering(o.cfg, o.deps.Answer, w).run(ctx)
}

// dial opens the websocket and sees who is there before a call is read.
func (o *Opener) dial(ctx context.Context) (*wire, error) {
	me, err := inHeader(o.deps.Introduce())
	if err != nil {
		return nil, err
	}
	var quiet *quietConn
	tcp := &net.Dialer{Timeout: handshakeTime}
	d := websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		HandshakeTimeout: handshakeTime,
		ReadBufferSize:   frameBuffer,
		WriteBufferSize:  frameBuffer,
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := tcp.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			quiet = &quietConn{Conn: c, silence: o.cfg.Silence}
			return quiet, nil
		},
	}
	header := http.Header{"Authorization": {"Bearer " + o.cfg.Token.Reveal()}, headerOpens: {me}}
	ws, resp, err := d.DialContext(ctx, o.url, header)
	if err != nil {
		return nil, refused(resp, err)
	}
	var there api.Identity
	if err = fromHeader(resp.Header.Get(headerAccepts), &there); err != nil {
		err = fmt.Errorf("what accepts the link is no markets node of this release: %w", err)
	} else {
		err = o.deps.Meet(there)
	}
	if err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	return newWire(ws, quiet, o.cfg.MaxCall), nil
}

// refused says in words why no websocket was opened.
func refused(resp *http.Response, err error) error {
	if resp == nil {
		return err
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // what there is of it is only shown
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	said := printable.Brief(line)
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the markets node refused the token of the link: %s; %s", said, hintToken)
	case http.StatusNotFound:
		return errors.New("what is there takes no link: set Accept = true under [Link] of the markets node, or name its API " +
			"(not its retrieval address); one that waits for its full node takes it later")
	}
	return fmt.Errorf("the markets node refused the link: %s (%s)", said, resp.Status)
}
