package pull

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/printable"
	"quarry/internal/secret"
)

// PusherConfig of a Pusher. Zero values mean the defaults stated.
type PusherConfig struct {
	Base   string        // http(s) URL of the markets node's API, the only place that bytes go to
	Token  secret.String // role link
	Pushes int           // at once; 128
	Stall  time.Duration // without a byte taken by the markets node; 2 min
}

// PusherDeps of a Pusher.
type PusherDeps struct{ Reader RangeReader }

// UnsealedReader reads the payload of an unsealed range.
type UnsealedReader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// RangeReader opens unsealed ranges; *api.ErrNotFound where none can be read.
type RangeReader interface {
	OpenUnsealed(ctx context.Context, s abi.SectorID, offset, size abi.PaddedPieceSize) (UnsealedReader, error)
}

// RangeReaderFunc is a function that is a RangeReader.
type RangeReaderFunc func(ctx context.Context, s abi.SectorID, offset, size abi.PaddedPieceSize) (UnsealedReader, error)

// OpenUnsealed implements RangeReader.
func (f RangeReaderFunc) OpenUnsealed(ctx context.Context, s abi.SectorID, offset, size abi.PaddedPieceSize) (UnsealedReader, error) {
	return f(ctx, s, offset, size)
}

// Pusher is the private node's side of reading: it sends payload of unsealed files
// to one-time places of its markets node. It implements api.Link.
type Pusher struct {
	cfg    PusherConfig
	deps   PusherDeps
	http   *http.Client
	pushes chan struct{}
}

var _ api.Link = (*Pusher)(nil)

// NewPusher makes one.
func NewPusher(cfg PusherConfig, deps PusherDeps) *Pusher {
	if cfg.Pushes <= 0 {
		cfg.Pushes = 128
	}
	if cfg.Stall <= 0 {
		cfg.Stall = 2 * time.Minute
	}
	return &Pusher{cfg: cfg, deps: deps, pushes: make(chan struct{}, cfg.Pushes), http: &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: handshakeTime}).DialContext,
			TLSHandshakeTimeout:   handshakeTime,
			ResponseHeaderTimeout: time.Minute,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close drops idle connections.
func (p *Pusher) Close() { p.http.CloseIdleConnections() }

// SectorPush implements api.Link.
func (p *Pusher) SectorPush(ctx context.Context, r api.PushRequest) error {
	if err := checkPush(r); err != nil {
		return err
	}
	select {
	case p.pushes <- struct{}{}:
		defer func() { <-p.pushes }()
	default:
		return &api.ErrBusy{What: "reading from the private node", Reason: fmt.Sprintf("it pushes %d ranges at once already", p.cfg.Pushes)}
	}
	src, err := p.deps.Reader.OpenUnsealed(ctx, r.Sector, r.Offset, r.Size)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	switch {
	case r.Length == 0:
		return nil
	case r.From+r.Length > src.Size():
		return badPush(fmt.Sprintf("the range has %d payload bytes, not %d+%d", src.Size(), r.From, r.Length))
	}
	return p.put(ctx, r, inOrder(src, r))
}

// inOrder reads what is asked for as cheaply as the source can: a copy on another
// host by one long request, where it offers that.
func inOrder(src UnsealedReader, r api.PushRequest) io.ReadCloser {
	if s, ok := src.(interface {
		Stream(off, n int64) io.ReadCloser
	}); ok {
		return s.Stream(r.From, r.Length)
	}
	return io.NopCloser(io.NewSectionReader(src, r.From, r.Length))
}

// maxSectorBytes bounds a range: there are no larger sectors.
const maxSectorBytes = 64 << 30

func badPush(reason string) error {
	return &api.ErrInvalid{What: "request for unsealed bytes", Reason: reason}
}

func checkPush(r api.PushRequest) error {
	switch {
	case r.Size == 0 || r.Size > maxSectorBytes || r.Offset > maxSectorBytes || r.Size%128 != 0 || r.Offset%128 != 0:
		return badPush(fmt.Sprintf("range %d+%d is not made of whole 128-byte quads of a sector", r.Offset, r.Size))
	case r.From < 0 || r.Length < 0 || r.From > maxSectorBytes || r.Length > maxSectorBytes:
		return badPush(fmt.Sprintf("payload %d+%d is not in the range", r.From, r.Length))
	case r.Length == 0 && r.ID == "":
		return nil
	}
	if raw, err := hex.DecodeString(r.ID); err != nil || len(raw) != idBytes || r.Length == 0 {
		return badPush("bytes are pushed to a one-time place, and this names none")
	}
	return nil
}

var errStalled = errors.New("the markets node took no byte for too long")

// put sends the bytes as fast as they are taken.
func (p *Pusher) put(ctx context.Context, r api.PushRequest, src io.ReadCloser) error {
	defer func() { _ = src.Close() }() // read only
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(p.cfg.Stall, func() { cancel(errStalled) })
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, p.cfg.Base+routePush+r.ID, nil)
	if err != nil {
		return fmt.Errorf("push to the markets node: %w", err)
	}
	body := &pushed{
		src:     src,
		sum:     newDigest(),
		moved:   func() { stall.Reset(p.cfg.Stall) },
		trailer: http.Header{trailerDigest: nil},
		closed:  make(chan struct{}),
	}
	body.end = sync.OnceFunc(func() { close(body.closed) })
	req.Body, req.ContentLength, req.Trailer = body, -1, body.trailer
	req.Header.Set("Authorization", "Bearer "+p.cfg.Token.Reveal())
	req.Header.Set(headerLength, strconv.FormatInt(r.Length, 10))
	resp, err := p.http.Do(req)
	defer func() { // an early answer leaves the source being read
		cancel(nil)
		<-body.closed
	}()
	if err != nil {
		return &api.ErrUnreachable{Peer: "the markets node, for unsealed bytes", Reason: errors.Join(context.Cause(ctx), err).Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // only shown
	if err := body.failed(); err != nil {
		return fmt.Errorf("read unsealed sector %s: %w", api.SectorName(r.Sector), err)
	}
	if resp.StatusCode != http.StatusOK {
		return &api.ErrUnreachable{Peer: "the markets node, for unsealed bytes",
			Reason: fmt.Sprintf("it answered %s: %s", resp.Status, printable.Brief(string(text)))}
	}
	return nil
}

// pushed is the body of a push: its digest is the trailer.
type pushed struct {
	src     io.Reader
	sum     hash.Hash
	moved   func()
	trailer http.Header
	closed  chan struct{} // nothing is read any more
	end     func()

	mu  sync.Mutex
	err error
}

// Read implements io.Reader; it is asked for more only when what it gave was taken.
func (b *pushed) Read(p []byte) (int, error) {
	b.moved()
	n, err := b.src.Read(p)
	_, _ = b.sum.Write(p[:n]) // a hash takes all
	if errors.Is(err, io.EOF) {
		b.trailer.Set(trailerDigest, hex.EncodeToString(b.sum.Sum(nil)))
		return n, io.EOF
	}
	if err != nil {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// Close implements io.Closer; the source has an owner.
func (b *pushed) Close() error {
	b.end()
	return nil
}

func (b *pushed) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
