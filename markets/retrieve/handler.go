package retrieve

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/gateway"
	"github.com/ipfs/go-cid"
	"github.com/prometheus/client_golang/prometheus"

	"quarry/api"
)

// Config of a Server; zero values are the defaults.
type Config struct {
	MaxRequests int           // at once, 0 = 256; more get 429
	Stall       time.Duration // a client that takes no bytes for this long is cut; 0 = 1 min
	Timeout     time.Duration // to find and read one block; 0 = 1 min
}

// Deps of a Server.
type Deps struct {
	Find   Finder
	Source Source
	Log    *slog.Logger
}

// Server answers retrievals.
type Server struct {
	cfg   Config
	deps  Deps
	bs    *blockstore
	gw    http.Handler
	slots chan struct{}
}

// New makes a Server; Close it to let go of open pieces.
func New(cfg Config, deps Deps) (*Server, error) {
	if cfg.MaxRequests == 0 {
		cfg.MaxRequests = 256
	}
	if cfg.Stall == 0 {
		cfg.Stall = time.Minute
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	bs := newBlockstore(deps.Find, deps.Source)
	backend, err := gateway.NewBlocksBackend(blockservice.New(bs, nil), gateway.WithPrometheusRegistry(prometheus.NewRegistry()))
	if err != nil {
		return nil, fmt.Errorf("retrieval gateway: %w", err)
	}
	gw := gateway.NewHandler(gateway.Config{DeserializedResponses: false, NoDNSLink: true, DisableHTMLErrors: true,
		RetrievalTimeout: cfg.Timeout, MetricsRegistry: prometheus.NewRegistry()}, backend)
	return &Server{cfg: cfg, deps: deps, bs: bs, gw: gw, slots: make(chan struct{}, cfg.MaxRequests)}, nil
}

// Close lets go of open pieces; requests in flight finish.
func (s *Server) Close() { s.bs.close() }

// Handler serves /ipfs/ and /piece/.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ipfs/", s.limit(s.ipfs))
	mux.HandleFunc("/piece/{cid}", s.limit(s.piece))
	return mux
}

func (s *Server) limit(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many retrievals at once, try again", http.StatusTooManyRequests)
			return
		}
		next(&steadyWriter{ResponseWriter: w, rc: http.NewResponseController(w), stall: s.cfg.Stall}, r)
	}
}

// ipfs answers 404 before the gateway would write the header of a CAR whose
// root is not here.
func (s *Server) ipfs(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
	c, err := cid.Decode(name)
	if err != nil {
		http.Error(w, fmt.Sprintf("bad CID %q: %s", name, err), http.StatusBadRequest)
		return
	}
	has, err := s.bs.Has(r.Context(), c)
	if err != nil {
		s.deps.Log.Error("block lookup failed", "cid", c, "error", err)
		http.Error(w, "server error looking up "+c.String(), http.StatusInternalServerError)
		return
	}
	if !has {
		http.Error(w, c.String()+" is not stored here", http.StatusNotFound)
		return
	}
	s.gw.ServeHTTP(w, r)
}

// piece serves the payload of a piece, with ranges.
func (s *Server) piece(w http.ResponseWriter, r *http.Request) {
	c, err := cid.Decode(r.PathValue("cid"))
	if err != nil {
		http.Error(w, fmt.Sprintf("bad piece CID %q: %s", r.PathValue("cid"), err), http.StatusBadRequest)
		return
	}
	if c, err = pieceV1(c); err != nil {
		http.Error(w, fmt.Sprintf("bad piece CID %q: %s", r.PathValue("cid"), err), http.StatusBadRequest)
		return
	}
	p, err := s.deps.Source.OpenPiece(r.Context(), c)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if api.IsTemporary(err) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "piece "+c.String()+" cannot be read right now, try again", http.StatusServiceUnavailable)
		return
	}
	if err != nil {
		s.deps.Log.Error("piece retrieval failed", "piece", c, "error", err)
		http.Error(w, "server error getting content for piece CID "+c.String(), http.StatusInternalServerError)
		return
	}
	defer p.Close()
	h := w.Header()
	h.Set("Etag", `"`+c.String()+`"`)
	h.Set("Content-Type", "application/piece")
	h.Set("Cache-Control", "public, max-age=29030400, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.UnixMilli(1), io.NewSectionReader(p, 0, p.Size()))
}

// steadyWriter moves the write deadline with every write, so that a client may
// take hours but not stop.
type steadyWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	stall time.Duration
}

func (w *steadyWriter) Write(b []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.stall)) // not every writer has deadlines
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *steadyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush passes a flush on.
func (w *steadyWriter) Flush() { _ = w.rc.Flush() }
