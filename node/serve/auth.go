package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"quarry/api"
	"quarry/internal/listen"

	"github.com/golang-jwt/jwt/v5"
)

type tokenKey struct{}

// WithPermissions marks ctx as coming from a caller with perms, as the listener
// does for a request with a token.
func WithPermissions(ctx context.Context, perms []api.Permission) context.Context {
	return api.WithCaller(ctx, api.Caller{Perms: perms})
}

// Permissions tells what the caller of a served request may do.
func Permissions(ctx context.Context) []api.Permission {
	c, _ := api.CallerOf(ctx)
	return slices.Clone(c.Perms)
}

// identity is what stays the same of a token that was verified: the ID it was
// issued with, or a hash of one that has none.
func identity(token string) string {
	var c jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err == nil && c.ID != "" {
		return c.ID
	}
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// authenticate lets in who has a valid token, and who has none only when
// DefaultPerms grants strangers something.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := tokenOf(r)
		if err != nil {
			refuse(w, err.Error())
			return
		}
		c := api.Caller{Perms: api.Implied(s.cfg.DefaultPerms)}
		switch {
		case token != "":
			perms, err := s.deps.Verify(r.Context(), token)
			if err != nil {
				s.deps.Log.Warn("token refused", "remote", r.RemoteAddr, "path", r.URL.Path, "err", err)
				refuse(w, "the token is not valid here")
				return
			}
			c = api.Caller{Token: identity(token), Perms: api.Implied(perms)}
		case len(s.cfg.DefaultPerms) == 0:
			refuse(w, "a token is needed (header Authorization: Bearer <token>)")
			return
		}
		ctx := context.WithValue(r.Context(), tokenKey{}, token)
		next.ServeHTTP(w, r.WithContext(api.WithCaller(ctx, c)))
	})
}

// bearer lets in whose token opens exactly what the request asks for; what it is
// for is its maker's business. Tokens of the API go on to next.
func (s *Server) bearer(o Opens, h, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := tokenOf(r)
		if err != nil || token == "" || !o.Is(token) {
			next.ServeHTTP(w, r)
			return
		}
		switch err := o.Check(r, token); {
		case api.IsTemporary(err):
			s.deps.Log.Warn("the bearer of a file cannot be checked now", "remote", r.RemoteAddr, "path", r.URL.Path, "err", err)
			w.Header().Set("Retry-After", "10")
			http.Error(w, "the bearer cannot be checked now", http.StatusServiceUnavailable)
		case err != nil:
			s.deps.Log.Warn("bearer of a file refused", "remote", r.RemoteAddr, "path", r.URL.Path, "err", err)
			refuse(w, "the bearer does not open this")
		default:
			h.ServeHTTP(w, r)
		}
	})
}

func refuse(w http.ResponseWriter, why string) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, why, http.StatusUnauthorized)
}

// tokenOf finds the token in the header or, for callers that cannot set one, in
// the query.
func tokenOf(r *http.Request) (string, error) {
	h := r.Header.Get("Authorization")
	if h == "" {
		return r.URL.Query().Get("token"), nil
	}
	token, ok := strings.CutPrefix(h, "Bearer ")
	if token = strings.TrimSpace(token); !ok || token == "" {
		return "", errors.New("the Authorization header is not of the form: Bearer <token>")
	}
	return token, nil
}

func needPerm(perm api.Permission, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(Permissions(r.Context()), perm) {
			http.Error(w, fmt.Sprintf("the token lacks permission '%s'", perm), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// pinned refuses calls that are meant for another process: one that had this
// address before, or that a caller took this one for.
func (s *Server) pinned(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if want := r.Header.Get(api.HeaderInstance); want != "" && s.cfg.Instance != "" && want != s.cfg.Instance {
			w.Header().Set(api.HeaderInstance, s.cfg.Instance)
			http.Error(w, "this is another process than the call is meant for", http.StatusPreconditionFailed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// edge reads the whole request under the limits before the RPC library sees it,
// takes its ids out and puts them back into the answer. Websockets get the same,
// message by message.
func (s *Server) edge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if listen.Upgrades(r) {
			next.ServeHTTP(&socketHijacker{ResponseWriter: w, limit: s.cfg.MaxRequestBytes, subscribes: s.subscribes}, r)
			return
		}
		if r.Method != http.MethodPost {
			http.Error(w, "JSON-RPC takes POST or a websocket", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.cfg.MaxRequestBytes))
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			rpcRefusal(w, http.StatusRequestEntityTooLarge, codeParse,
				fmt.Sprintf("request bigger than maximum %d allowed", s.cfg.MaxRequestBytes))
			return
		}
		if err != nil {
			// The link, not the request: it may come again.
			rpcRefusal(w, http.StatusRequestTimeout, codeParse, "reading the request failed")
			return
		}
		parts, ids, err := swapIDs(body)
		if err != nil {
			rpcRefusal(w, http.StatusBadRequest, codeInvalid, err.Error())
			return
		}
		r.Body = joined(parts)
		next.ServeHTTP(&answerWriter{ResponseWriter: w, restorer: restorer{id: ids.restore}}, r)
	})
}

// rpcRefusal answers in the shape of a JSON-RPC error.
func rpcRefusal(w http.ResponseWriter, status, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(refusal(nil, code, text), '\n')) // the caller went away
}
