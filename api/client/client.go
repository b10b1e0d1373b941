package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"quarry/api"
	"quarry/internal/apiinfo"
	"quarry/internal/printable"

	"github.com/filecoin-project/go-jsonrpc"
)

// namespace of every method on the wire.
const namespace = "Filecoin"

// Config of a client.
type Config struct {
	// Info is token:address, or @FILE with it; see package apiinfo. The file is read
	// again when the peer refuses the token, so that a new one is taken up.
	Info string
	// Carrier brings calls to the peer instead of HTTP requests to Info, which is
	// not looked at then. There are no subscriptions over it.
	Carrier Carrier
	// Name of the peer in errors, such as "the sealing node"; by default what is
	// dialled.
	Name string
	// MaxResponseBytes bounds one answer; 512 MiB by default (vanilla proofs and
	// state objects are large).
	MaxResponseBytes int64
	// Gate is asked before each call; nil lets every one pass.
	Gate Gate
	// Terminal says that what comes back is shown to a person: in every text of
	// results and errors what a terminal would obey is escaped.
	Terminal bool
	Log      *slog.Logger
}

// ChainAPI is a full node, real or embedded.
type ChainAPI struct {
	api.ChainStruct
	api.NodeStruct
	api.DevnetStruct
	*conn
}

var (
	_ api.Chain  = (*ChainAPI)(nil)
	_ api.Node   = (*ChainAPI)(nil)
	_ api.Devnet = (*ChainAPI)(nil)
)

// MinerAPI is a miner process or worker with everything it may serve; what it
// does not serve answers api.ErrNotServedHere.
type MinerAPI struct {
	api.CommonStruct
	api.NetStruct
	api.IndexStruct
	api.LeasesStruct
	api.TasksStruct
	api.FleetStruct
	api.ProverStruct
	api.SealingStruct
	api.MiningStruct
	api.MarketsStruct
	api.LinkStruct
	*conn
}

var (
	_ api.Common  = (*MinerAPI)(nil)
	_ api.Net     = (*MinerAPI)(nil)
	_ api.Storage = (*MinerAPI)(nil)
	_ api.Sealing = (*MinerAPI)(nil)
	_ api.Mining  = (*MinerAPI)(nil)
	_ api.Markets = (*MinerAPI)(nil)
)

// Chain makes a client of a full node. It does not connect: an error means that
// cfg cannot work.
func Chain(ctx context.Context, cfg Config) (*ChainAPI, error) {
	c, err := newConn(ctx, cfg, "v1")
	if err != nil {
		return nil, fmt.Errorf("client of a full node: %w", err)
	}
	out := &ChainAPI{conn: c}
	err = c.fill(
		part{&out.ChainStruct.Internal, ""},
		part{&out.NodeStruct.Internal, ""},
		part{&out.DevnetStruct.Internal, ""},
	)
	if err != nil {
		return nil, err
	}
	out.ChainStruct.Internal.ChainNotify = c.chainNotify
	return out, nil
}

// Miner makes a client of a miner process. It does not connect: an error means
// that cfg cannot work.
func Miner(ctx context.Context, cfg Config) (*MinerAPI, error) {
	c, err := newConn(ctx, cfg, "v1")
	if err != nil {
		return nil, fmt.Errorf("client of a miner: %w", err)
	}
	out := &MinerAPI{conn: c}
	err = c.fill(
		part{&out.CommonStruct.Internal, ""},
		part{&out.NetStruct.Internal, api.SubsystemMarkets},
		part{&out.IndexStruct.Internal, api.SubsystemSectorStorage},
		part{&out.LeasesStruct.Internal, api.SubsystemSectorStorage},
		part{&out.TasksStruct.Internal, api.SubsystemSectorStorage},
		part{&out.FleetStruct.Internal, api.SubsystemSectorStorage},
		part{&out.ProverStruct.Internal, api.SubsystemSectorStorage},
		part{&out.SealingStruct.Internal, api.SubsystemSealing},
		part{&out.MiningStruct.Internal, api.SubsystemMining},
		part{&out.MarketsStruct.Internal, api.SubsystemMarkets},
		part{&out.LinkStruct.Internal, api.SubsystemSectorStorage},
	)
	return out, err
}

// part is one struct of function fields and the subsystem it belongs to.
type part struct {
	internal any
	sub      api.Subsystem
}

// conn is what all interfaces of one peer share.
type conn struct {
	cfg     Config
	info    atomic.Pointer[apiinfo.Info]
	version string
	name    string
	http    *http.Client
	closers []func()
	once    sync.Once
	subs    subscriptions
}

func newConn(ctx context.Context, cfg Config, version string) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var info apiinfo.Info
	if cfg.Carrier == nil {
		var err error
		if info, err = apiinfo.Load(cfg.Info); err != nil {
			return nil, err
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxResponseBytes <= 0 {
		cfg.MaxResponseBytes = 512 << 20
	}
	name := cfg.Name
	if name == "" {
		name = info.String()
	}
	c := &conn{cfg: cfg, version: version, name: name, http: &http.Client{Transport: transport()}}
	c.info.Store(&info)
	c.subs.init()
	return c, nil
}

func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	t.IdleConnTimeout = 30 * time.Second
	return t
}

// Info is the parsed address and token this client dials.
func (c *conn) Info() apiinfo.Info { return *c.info.Load() }

// Close ends subscriptions and idle connections. Calls in flight end with their
// own contexts. It is safe to repeat.
func (c *conn) Close() {
	c.subs.close()
	c.once.Do(func() {
		for _, f := range c.closers {
			f()
		}
	})
	c.http.CloseIdleConnections()
}

// fill connects the function fields of the parts and puts the translation of
// errors before each.
func (c *conn) fill(parts ...part) error {
	send := c.post
	if c.cfg.Carrier != nil {
		send = c.carry
	}
	for _, p := range parts {
		closer, err := jsonrpc.NewCustomClient(namespace, []any{p.internal}, send, jsonrpc.WithErrors(errorTable()))
		if err != nil {
			return fmt.Errorf("client of %s: %w", c.name, err)
		}
		c.closers = append(c.closers, closer)
		v := reflect.ValueOf(p.internal).Elem()
		for i := range v.NumField() {
			c.wrap(v.Field(i), v.Type().Field(i), p.sub)
		}
	}
	return nil
}

type methodKey struct{}

func (c *conn) wrap(field reflect.Value, sf reflect.StructField, sub api.Subsystem) {
	inner := reflect.ValueOf(field.Interface()) // a copy: field is overwritten below
	m := api.Method{Name: sf.Name, Perm: api.Permission(sf.Tag.Get("perm"))}
	last := sf.Type.NumOut() - 1
	field.Set(reflect.MakeFunc(sf.Type, func(args []reflect.Value) []reflect.Value {
		ctx, _ := args[0].Interface().(context.Context)
		out := make([]reflect.Value, last+1)
		err := c.guarded(ctx, m, func(ctx context.Context) error {
			args[0] = reflect.ValueOf(context.WithValue(ctx, methodKey{}, m))
			copy(out, inner.Call(args))
			err, _ := out[last].Interface().(error)
			return err
		})
		if err != nil {
			out[last] = reflect.ValueOf(c.shown(c.translate(ctx, m, sub, err)))
			for i := range last {
				out[i] = reflect.Zero(sf.Type.Out(i))
			}
			return out
		}
		if c.cfg.Terminal {
			for i := range last {
				out[i] = printable.Value(out[i])
			}
		}
		return out
	}))
}

// shown makes an error fit for a terminal where that is where it goes.
func (c *conn) shown(err error) error {
	var remote *RemoteError
	if c.cfg.Terminal && errors.As(err, &remote) {
		remote.Text = printable.Line(remote.Text)
	}
	return err
}
