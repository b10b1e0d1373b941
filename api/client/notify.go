package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"quarry/api"

	"github.com/filecoin-project/go-jsonrpc"
)

// subscriptions are the goroutines of a client; close ends them and waits.
type subscriptions struct {
	mu     sync.Mutex
	wg     sync.WaitGroup
	ctx    context.Context // ends with the client
	cancel context.CancelFunc
	closed bool
}

func (s *subscriptions) init() { s.ctx, s.cancel = context.WithCancel(context.Background()) }

// start runs f unless the client is closed; f must end soon after ctx does.
func (s *subscriptions) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

func (s *subscriptions) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// dialled is an opened websocket with the first method called on it.
type dialled struct {
	in    <-chan []*api.HeadChange
	close func()
	err   error
}

// chainNotify gives every subscription its own websocket: nothing else can
// starve it, and it heals by subscribing again. The channel closes when the
// connection, ctx or the client ends; it never says why.
func (c *conn) chainNotify(ctx context.Context) (<-chan []*api.HeadChange, error) {
	if c.cfg.Gate != nil {
		if _, err := c.cfg.Gate.Allow(ctx, api.Method{Name: "ChainNotify", Perm: api.PermRead}); err != nil {
			return nil, err
		}
	}
	sctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(c.subs.ctx, cancel)
	end := func() { unhook(); cancel() }
	closed := &api.ErrUnreachable{Peer: c.name, Reason: "this client is closed"}
	got := make(chan dialled, 1)
	if !c.subs.start(func() { got <- c.dialNotify(sctx) }) {
		end()
		return nil, closed
	}
	d := dialled{err: closed}
	select {
	case d = <-got:
	case <-sctx.Done(): // the dial sees it too, or ends by its handshake limit
		c.subs.wg.Go(func() {
			if late := <-got; late.err == nil {
				late.close()
			}
		})
	}
	if d.err != nil {
		end()
		return nil, c.translate(ctx, api.Method{Name: "ChainNotify", Perm: api.PermRead}, "", d.err)
	}
	out := make(chan []*api.HeadChange)
	started := c.subs.start(func() {
		forward(sctx, d.in, out)
		end() // first: it lets the library's reader of the channel end
		d.close()
		close(out)
	})
	if !started {
		end()
		d.close()
		return nil, closed
	}
	return out, nil
}

func (c *conn) dialNotify(ctx context.Context) dialled {
	// The library's handshake takes no context: an unreachable host is found out
	// with one that does.
	probe, err := new(net.Dialer).DialContext(ctx, "tcp", c.Info().DialAddr())
	if err != nil {
		return dialled{err: c.lost(ctx, err)}
	}
	_ = probe.Close()
	var internal struct {
		ChainNotify func(ctx context.Context) (<-chan []*api.HeadChange, error)
	}
	header := http.Header{}
	c.authorize(header)
	closer, err := jsonrpc.NewMergeClient(context.WithoutCancel(ctx), c.Info().Websocket(c.version), namespace, []any{&internal}, header,
		jsonrpc.WithErrors(errorTable()), jsonrpc.WithNoReconnect())
	if err != nil {
		return dialled{err: c.dialError(ctx, err)}
	}
	in, err := internal.ChainNotify(ctx)
	if err == nil && in == nil {
		err = errors.New("the node answered without a channel")
	}
	if err != nil {
		closer()
		return dialled{err: err}
	}
	return dialled{in: in, close: func() {
		closer()
		for range in { // until the library's goroutine has ended
		}
	}}
}

// dialError finds out why a handshake failed: the library drops the status, an
// ordinary call shows it.
func (c *conn) dialError(ctx context.Context, err error) error {
	probe, perr := c.post(context.WithValue(ctx, methodKey{}, api.Method{Perm: api.PermRead}),
		[]byte(`{"jsonrpc":"2.0","id":1,"method":"Filecoin.Version","params":[]}`))
	var token *TokenError
	if errors.As(perr, &token) {
		return token
	}
	if perr == nil {
		_ = probe.Close()
	}
	return &api.ErrUnreachable{Peer: c.name, Reason: err.Error()}
}

func forward(ctx context.Context, in <-chan []*api.HeadChange, out chan<- []*api.HeadChange) {
	for {
		select {
		case v, ok := <-in:
			if !ok {
				return
			}
			select {
			case out <- v:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
