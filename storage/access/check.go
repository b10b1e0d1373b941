package access

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Keys finds the public key that a bearer names. Names come from strangers.
type Keys interface {
	Key(ctx context.Context, id string) (ed25519.PublicKey, error)
}

// Key implements [Keys] for the process that makes the bearers.
func (s *Signer) Key(_ context.Context, id string) (ed25519.PublicKey, error) {
	public := s.public()
	if id != KeyID(public) {
		return nil, fmt.Errorf("%w: it was made with another key", ErrRefused)
	}
	return public, nil
}

// Checker tells whether a request may have the file that it asks for.
type Checker struct {
	base string
	keys Keys
	now  func() time.Time
}

// NewChecker makes a Checker of a process that serves files below base, the URL
// that it attached its paths with.
func NewChecker(base string, keys Keys) (*Checker, error) {
	base, err := CleanBase(base)
	if err != nil {
		return nil, err
	}
	return &Checker{base: base, keys: keys, now: time.Now}, nil
}

// Is tells a bearer of this kind from other tokens, without believing it.
func Is(token string) bool {
	if len(token) > maxBearer {
		return false
	}
	t, _, err := jwt.NewParser().ParseUnverified(token, &claims{})
	return err == nil && t.Method == method
}

// Check wraps ErrRefused unless the token was made for exactly this request: its
// method, its file, this process and this time.
func (c *Checker) Check(r *http.Request, token string) error {
	if len(token) > maxBearer {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrRefused, maxBearer)
	}
	var got claims
	_, err := jwt.ParseWithClaims(token, &got, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		return c.keys.Key(r.Context(), id)
	}, jwt.WithValidMethods([]string{method.Alg()}), jwt.WithLeeway(Leeway), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithAudience(c.base), jwt.WithTimeFunc(c.now))
	if err != nil {
		return errors.Join(ErrRefused, err)
	}
	if got.Method != r.Method && !(got.Method == http.MethodGet && r.Method == http.MethodHead) {
		return fmt.Errorf("%w: it is for %s", ErrRefused, got.Method)
	}
	if !within(r.URL.Path, got.File) {
		return fmt.Errorf("%w: it is for another file", ErrRefused)
	}
	return nil
}

// Route is where every process serves sector files.
const Route = "/remote/"

// within tells whether the path of a request is that of the file, or of a part of
// it. A path that leads elsewhere than it seems is that of no file.
func within(name, file string) bool {
	if path.Clean(name) != name {
		return false
	}
	part, ok := strings.CutPrefix(name, Route+file)
	return ok && (part == "" || part[0] == '/')
}
