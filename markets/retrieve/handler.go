package retrieve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"quarry/api"
)

// defaultTimeout leaves room to answer within ten seconds.
const defaultTimeout = 8 * time.Second

// maxName bounds the CID in a path, in characters: an identity CID of the largest
// size in base 16 is shorter.
const maxName = 8 << 10

// Config of a Server; zero values are the defaults.
type Config struct {
	MaxRequests int           // at once, 0 = 256; more get 429
	Stall       time.Duration // a client that takes no bytes for this long is cut; 0 = 1 min
	Timeout     time.Duration // to find and read one block, or to open a piece; 0 = 8 s
}

// Deps of a Server.
type Deps struct {
	Find   Finder
	Source Source
	Blame  Blame // learns of pieces that lie; nil: nobody
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
		cfg.Timeout = defaultTimeout
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	bs := newBlockstore(deps.Find, deps.Source)
	bs.blame, bs.log, bs.limit = deps.Blame, deps.Log, cfg.Timeout
	gw, err := newGateway(bs)
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg:   cfg,
		deps:  deps,
		bs:    bs,
		gw:    gw,
		slots: make(chan struct{}, cfg.MaxRequests),
	}, nil
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
		t := &track{head: r.Method == http.MethodHead}
		a := newAnswer(w, r, t, s.cfg.Stall)
		next(a, r.WithContext(withTrack(r.Context(), t)))
		a.finish()
	}
}

// ipfs reads the root before the gateway says anything, so that 200 is only said
// of a DAG whose root is here, readable and right.
func (s *Server) ipfs(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		s.gw.ServeHTTP(w, r)
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
	c, err := decodeCID(name)
	if err != nil {
		say(w, http.StatusBadRequest, "bad CID: "+err.Error())
		return
	}
	accept, err := negotiate(r)
	if err != nil {
		w.Header().Set("Vary", "Accept")
		say(w, statusOf(err), err.Error())
		return
	}
	root, err := s.bs.Get(r.Context(), c)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	trackOf(r.Context()).root = root
	r.Header = r.Header.Clone()
	r.Header.Set("Accept", accept)
	w.Header().Set("Vary", "Accept")
	s.gw.ServeHTTP(w, r)
}

func statusOf(err error) int {
	if errors.Is(err, errNotAcceptable) {
		return http.StatusNotAcceptable
	}
	return http.StatusRequestHeaderFieldsTooLarge
}

func decodeCID(name string) (cid.Cid, error) {
	if len(name) > maxName {
		return cid.Undef, fmt.Errorf("%d characters, at most %d", len(name), maxName)
	}
	return cid.Decode(name)
}

// refuse says why the root is not served.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var never *unserved
	switch {
	case errors.As(err, &never):
		say(w, http.StatusBadRequest, never.Error())
	case ipld.IsNotFound(err) && r.Header.Get("Cache-Control") == "only-if-cached":
		say(w, http.StatusPreconditionFailed, "this block is not stored here")
	case ipld.IsNotFound(err):
		say(w, http.StatusNotFound, "this block is not stored here")
	default:
		sayUnavailable(w, err.Error())
	}
}

// piece serves the payload of a piece, with ranges.
func (s *Server) piece(w http.ResponseWriter, r *http.Request) {
	c, err := decodeCID(r.PathValue("cid"))
	if err == nil {
		c, err = pieceV1(c)
	}
	if err != nil {
		say(w, http.StatusBadRequest, "bad piece CID: "+err.Error())
		return
	}
	p, err := s.bs.openPiece(r.Context(), c)
	if err != nil {
		s.refusePiece(w, c, err)
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

func (s *Server) refusePiece(w http.ResponseWriter, c cid.Cid, err error) {
	var missing *api.ErrNotFound
	switch {
	case errors.As(err, &missing):
		say(w, http.StatusNotFound, "piece "+c.String()+" is not stored here")
	case api.IsTemporary(err), errors.Is(err, errLate), errors.Is(err, context.Canceled):
		sayUnavailable(w, "piece "+c.String()+" cannot be read right now, try again later")
	default:
		s.deps.Log.Error("piece retrieval failed", "piece", c, "error", err)
		say(w, http.StatusInternalServerError, "server error getting content for piece CID "+c.String())
	}
}
