package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/filecoin-project/go-jsonrpc"

	"quarry/api"
	"quarry/internal/listen"
)

// RunEarly serves, on the address that Run will serve, what a process can
// answer while it waits for something it cannot do without: health and Common.
// Every other method fails with missing, and /health/readyz says it. It ends
// with ctx and leaves the listener open for Run.
func (s *Server) RunEarly(ctx context.Context, common api.Common, missing error) error {
	deps := s.deps
	deps.Ready = s.notYet
	cfg := s.cfg
	cfg.Absent = nil
	early := assemble(cfg, deps, s.ln)
	early.lent = true
	early.RegisterCommon(common)
	later := func(ctx context.Context, m api.Method, _ func(context.Context) error) error {
		if err := early.allowed(ctx, m); err != nil {
			return wire(ctx, err)
		}
		return wire(ctx, fmt.Errorf("%s is not served yet: %w", m.Name, missing))
	}
	early.registerStorage(nil, later)
	for _, receiver := range []any{&api.NetServer{Guard: later}, &api.SealingServer{Guard: later}, &api.MiningServer{Guard: later},
		&api.MarketsServer{Guard: later}} {
		early.register(receiver)
	}
	err := early.Run(ctx)
	if derr := s.ln.SetDeadline(time.Time{}); err == nil && derr != nil {
		err = fmt.Errorf("take the listener %s back: %w", s.Addr(), derr)
	}
	return err
}

// notYet is why a process that still starts is not ready: missing would tell
// strangers where it looks.
func (s *Server) notYet(ctx context.Context) error {
	starting := errors.New("the process is starting")
	if s.deps.Ready == nil {
		return starting
	}
	if err := s.deps.Ready(ctx); err != nil {
		return fmt.Errorf("%w; %w", starting, err)
	}
	return starting
}

// lent is a listener whose Close only ends the waiting Accept.
type lent struct{ *listen.Listener }

func (l lent) Close() error { return l.SetDeadline(time.Now()) }

// assemble makes a server with the routes that every one has.
func assemble(cfg Config, deps Deps, ln *listen.Listener) *Server {
	s := &Server{
		cfg:      cfg,
		deps:     deps,
		ln:       ln,
		mux:      http.NewServeMux(),
		served:   map[api.Subsystem]bool{},
		channels: map[string]bool{},
	}
	muteLibrary()
	s.rpc = jsonrpc.NewServer(jsonrpc.WithServerErrors(errorTable()), jsonrpc.WithMaxRequestSize(cfg.MaxRequestBytes))
	for _, p := range []string{"/rpc/v0", "/rpc/v1"} {
		s.route(Route{Pattern: p}, s.pinned(s.edge(s.rpc)))
	}
	s.HandlePublic("/health/livez", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }))
	s.HandlePublic("/health/readyz", http.HandlerFunc(s.readyz))
	return s
}
