package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"quarry/api"
	"quarry/internal/listen"
	"quarry/internal/loglimit"
	"quarry/internal/ownaddr"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Config of a server. The zero value of a field means its default.
type Config struct {
	// Listen is host:port or a multiaddr such as /ip4/127.0.0.1/tcp/2345/http.
	// Port 0 picks a free one, see Addr.
	Listen string
	// DefaultPerms is what a caller without a token may do; empty means that
	// nobody gets in without one.
	DefaultPerms []api.Permission
	// MaxRequestBytes bounds one JSON-RPC request; 10 MiB by default.
	MaxRequestBytes int64
	// Limits of connections and of waiting for callers.
	Limits listen.Limits
	// Absent says, for subsystems that are not registered, who serves them. Calls
	// to them answer api.ErrNotServedHere with this text. A subsystem neither
	// registered nor named here is an unknown method.
	Absent map[api.Subsystem]string
	// StopBudget bounds a graceful stop; 10 s by default.
	StopBudget time.Duration
	// Instance is the identity of this start of the process. Calls pinned to
	// another one (api.HeaderInstance) are refused unread. Empty: none is checked.
	Instance string
}

// Deps of a server.
type Deps struct {
	// Verify returns what a token may do, or an error when it is not valid (any
	// more). It is also asked again for every call on a long-lived connection.
	Verify func(ctx context.Context, token string) ([]api.Permission, error)
	// Ready answers /health/readyz: nil when the process can do its work. Anybody
	// reads the text of the error: it names no host and no path. nil func means
	// always ready.
	Ready func(ctx context.Context) error
	Log   *slog.Logger
}

// Server is a bound listener with its routes.
type Server struct {
	cfg  Config
	deps Deps
	ln   *listen.Listener
	lent bool // the listener belongs to another server
	rpc  *jsonrpc.RPCServer
	mux  *http.ServeMux

	mu      sync.Mutex
	started bool
	served  map[api.Subsystem]bool
	hasNet  bool
	routes  []Route
	// channels are the methods that open a subscription.
	channels map[string]bool
}

// Route is one registered pattern, for tests and for the routes listing.
type Route struct {
	Pattern string
	Perm    api.Permission // empty for /rpc, where each method has its own
	Public  bool
	Bearer  bool // also to bearers that are good for one thing
}

// New binds the listener, so that Addr is known before anything is served.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Verify == nil {
		return nil, errors.New("serve: Deps.Verify is missing")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxRequestBytes <= 0 {
		cfg.MaxRequestBytes = 10 << 20
	}
	if cfg.StopBudget <= 0 {
		cfg.StopBudget = 10 * time.Second
	}
	hostport, err := HostPort(cfg.Listen)
	if err != nil {
		return nil, err
	}
	// Strangers can cause these lines at will.
	deps.Log = loglimit.Logger(deps.Log)
	ln, err := listen.Open(listen.Config{Address: hostport, Limits: cfg.Limits, Log: deps.Log})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w (is another process of this kind running? change API.ListenAddress)", cfg.Listen, err)
	}
	return assemble(cfg, deps, ln), nil
}

// HostPort turns a multiaddr or host:port into what net.Listen takes.
func HostPort(listen string) (string, error) {
	if len(listen) == 0 || listen[0] != '/' {
		if _, _, err := net.SplitHostPort(listen); err != nil {
			return "", fmt.Errorf("listen address %q is neither host:port nor a multiaddr such as /ip4/127.0.0.1/tcp/2345/http", listen)
		}
		return listen, nil
	}
	ma, err := multiaddr.NewMultiaddr(listen)
	if err != nil {
		return "", fmt.Errorf("listen address %q: %w", listen, err)
	}
	_, hostport, err := manet.DialArgs(ma)
	if err != nil {
		return "", fmt.Errorf("listen address %q: %w", listen, err)
	}
	return hostport, nil
}

// Addr is the bound address, host:port with the real port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Multiaddr is where programs on this host reach the server, as the api file of a
// repo has it: /ip4/…/tcp/…/http. One that listens on every address is reached on
// the loopback address.
func (s *Server) Multiaddr() string {
	at, err := netip.ParseAddrPort(ownaddr.OnThisHost(s.Addr()))
	if err == nil {
		ma, err := manet.FromNetAddr(net.TCPAddrFromAddrPort(at))
		if err == nil {
			return ma.String() + "/http"
		}
	}
	return "/dns4/localhost/tcp/0/http" // a TCP listener has a TCP address
}

// Routes lists every registered pattern.
func (s *Server) Routes() []Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.routes)
}

// Handle serves pattern (net/http ServeMux syntax) to callers with perm. Like
// all registration it must happen before Run and panics afterwards.
func (s *Server) Handle(pattern string, perm api.Permission, h http.Handler) {
	if !slices.Contains(api.AllPermissions, perm) {
		panic(fmt.Sprintf("serve: route %s needs a permission that does not exist: %q", pattern, perm))
	}
	s.route(Route{Pattern: pattern, Perm: perm}, needPerm(perm, h))
}

// Opens tells bearers that open one thing from tokens of the API, and checks them.
type Opens struct {
	Is    func(token string) bool
	Check func(r *http.Request, token string) error // temporary errors of api: it cannot be told now
}

// HandleBearer serves pattern to who shows a bearer that opens what is asked for,
// and to tokens of the API with perm.
func (s *Server) HandleBearer(pattern string, perm api.Permission, o Opens, h http.Handler) {
	s.route(Route{Pattern: pattern, Perm: perm, Bearer: true}, s.bearer(o, h, s.authenticate(needPerm(perm, h))))
}

// HandlePublic serves pattern to anybody. Its uses are a short written list,
// see publicRoutes in the tests.
func (s *Server) HandlePublic(pattern string, h http.Handler) {
	s.route(Route{Pattern: pattern, Public: true}, h)
}

func (s *Server) route(r Route, h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		panic("serve: route " + r.Pattern + " registered after Run")
	}
	s.routes = append(s.routes, r)
	if !r.Public && !r.Bearer {
		h = s.authenticate(h)
	}
	s.mux.Handle(r.Pattern, h)
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.deps.Ready != nil {
		if err := s.deps.Ready(r.Context()); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

// Close releases the listener of a server that never ran.
func (s *Server) Close() error { return s.ln.Close() }

// Run serves until ctx ends, then stops gracefully: no new connections, calls
// in flight get a moment to end by themselves, then their contexts end, and
// after StopBudget connections are cut.
func (s *Server) Run(ctx context.Context) error {
	s.fillAbsent()
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	// Handlers outlive ctx by the grace period, so theirs is another context.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var active sync.WaitGroup // hijacked connections are not seen by Shutdown
	srv := s.ln.Server(s.recoverer(&active))
	srv.BaseContext = func(net.Listener) context.Context { return base }
	var ln net.Listener = s.ln
	if s.lent {
		ln = lent{s.ln}
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		cancel()
		active.Wait()
		return fmt.Errorf("serve %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	err := s.stop(ctx, srv, cancel)
	<-ended
	active.Wait()
	return err
}

func (s *Server) stop(ctx context.Context, srv *http.Server, cancel func()) error {
	grace := time.AfterFunc(min(time.Second, s.cfg.StopBudget/2), cancel)
	defer grace.Stop()
	bounded, done := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.StopBudget)
	defer done()
	err := srv.Shutdown(bounded)
	cancel()
	if err != nil {
		s.deps.Log.Warn("connections cut at stop", "budget", s.cfg.StopBudget, "err", err)
		if err := srv.Close(); err != nil {
			return fmt.Errorf("close listener %s: %w", s.Addr(), err)
		}
	}
	return nil
}

// recoverer keeps one bad request from ending the process.
func (s *Server) recoverer(active *sync.WaitGroup) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		active.Add(1)
		defer active.Done()
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				s.deps.Log.Error("panic in a route", "path", r.URL.Path, "panic", p)
				http.Error(w, "internal error, see the log of this process", http.StatusInternalServerError)
			}
		}()
		s.mux.ServeHTTP(w, r)
	})
}
