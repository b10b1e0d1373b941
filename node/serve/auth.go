package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"quarry/api"
)

// bodyTime bounds the reading of one JSON-RPC request.
const bodyTime = time.Minute

type callerKey struct{}

// caller is who sent a request.
type caller struct {
	token string // empty: DefaultPerms
	perms []api.Permission
}

// WithPermissions marks ctx as coming from a caller with perms, as the listener
// does for a request with a token.
func WithPermissions(ctx context.Context, perms []api.Permission) context.Context {
	return context.WithValue(ctx, callerKey{}, caller{perms: perms})
}

// Permissions tells what the caller of a served request may do.
func Permissions(ctx context.Context) []api.Permission {
	c, _ := ctx.Value(callerKey{}).(caller)
	return slices.Clone(c.perms)
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
		c := caller{token: token, perms: s.cfg.DefaultPerms}
		switch {
		case token != "":
			if c.perms, err = s.deps.Verify(r.Context(), token); err != nil {
				s.deps.Log.Warn("token refused", "remote", r.RemoteAddr, "path", r.URL.Path, "err", err)
				refuse(w, "the token is not valid here")
				return
			}
			c.perms = whole(c.perms)
		case len(s.cfg.DefaultPerms) == 0:
			refuse(w, "a token is needed (header Authorization: Bearer <token>)")
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// whole gives an admin token the words that did not exist when it was made.
func whole(perms []api.Permission) []api.Permission {
	if slices.Contains(perms, api.PermAdmin) {
		return api.ClassicPermissions(api.PermAdmin)
	}
	return perms
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

// limitBody reads the whole request under a size and a time limit before the
// RPC library sees it, and bounds the frames of a websocket.
func (s *Server) limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade") {
			next.ServeHTTP(&limitedHijacker{ResponseWriter: w, limit: s.cfg.MaxRequestBytes}, r)
			return
		}
		if r.Method != http.MethodPost {
			http.Error(w, "JSON-RPC takes POST or a websocket", http.StatusMethodNotAllowed)
			return
		}
		// The deadline must be gone again before the call runs: the server notices a
		// vanished caller by reading on.
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(bodyTime)) // unsupported only in tests with a recorder
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.cfg.MaxRequestBytes))
		_ = rc.SetReadDeadline(time.Time{})
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			rpcRefusal(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("request bigger than maximum %d allowed", s.cfg.MaxRequestBytes))
			return
		}
		if err != nil {
			rpcRefusal(w, http.StatusRequestTimeout, "reading the request failed") // the link, not the request: it may come again
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// rpcRefusal answers in the shape of a JSON-RPC parse error.
func rpcRefusal(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":%q}}`+"\n", text)
}
