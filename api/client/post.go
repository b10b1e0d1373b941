package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"quarry/api"
	"quarry/internal/apiinfo"
	"quarry/internal/printable"
)

// post sends one request and reads the whole answer, so that a connection lost
// half way is an unreachable peer and not a malformed answer.
func (c *conn) post(ctx context.Context, body []byte) (io.ReadCloser, error) {
	answer, err := c.ask(ctx, body)
	var refused *TokenError
	if errors.As(err, &refused) && c.reload() {
		return c.ask(ctx, body) // a call that was refused has done nothing
	}
	return answer, err
}

// reload reads the file with the API info again and tells whether there is
// another token in it. Another address is another peer: that takes a restart.
func (c *conn) reload() bool {
	if !apiinfo.FromFile(c.cfg.Info) {
		return false
	}
	old := c.Info()
	fresh, err := apiinfo.Load(c.cfg.Info)
	if err != nil || fresh.Base() != old.Base() || fresh.Token.Reveal() == old.Token.Reveal() {
		return false
	}
	c.info.Store(&fresh)
	return true
}

func (c *conn) authorize(h http.Header) {
	if token := c.Info().Token; !token.Empty() {
		h.Set("Authorization", "Bearer "+token.Reveal())
	}
}

func (c *conn) ask(ctx context.Context, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Info().URL(c.version), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	pin(req)
	c.authorize(req.Header)
	if m, _ := ctx.Value(methodKey{}).(api.Method); m.Perm == api.PermRead {
		// Reading is safe to repeat, which lets net/http replace a connection that
		// died with the last server process. The empty header is not sent.
		req.Header["Idempotency-Key"] = []string{}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxResponseBytes+1))
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if int64(len(answer)) > c.cfg.MaxResponseBytes {
		return nil, fmt.Errorf("the answer of %s is bigger than %d bytes", c.name, c.cfg.MaxResponseBytes)
	}
	if err := c.checkStatus(resp, answer); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(answer)), nil
}

// lost tells a call given up by its caller from one that never got an answer.
func (c *conn) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &api.ErrUnreachable{Peer: c.name, Reason: err.Error()}
}

func (c *conn) checkStatus(resp *http.Response, answer []byte) error {
	isRPC := strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") || bytes.HasPrefix(bytes.TrimSpace(answer), []byte("{"))
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return &TokenError{Peer: c.name, Reason: firstLine(answer), Missing: c.Info().Token.Empty()}
	case code == http.StatusPreconditionFailed && resp.Header.Get(api.HeaderInstance) != "":
		return &replacedError{peer: c.name}
	case code == http.StatusRequestEntityTooLarge:
		return &api.ErrInvalid{What: "request to " + c.name, Reason: firstLine(answer),
			Hint: "API.MaxRequestBytes of that process bounds it"}
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests ||
		code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout:
		return &api.ErrUnreachable{Peer: c.name, Reason: "it answered " + printable.Line(resp.Status)}
	case code == http.StatusOK || isRPC:
		return nil
	}
	return fmt.Errorf("%s answered %s: %s (is this the address of a node?)", c.name, printable.Line(resp.Status), firstLine(answer))
}

func firstLine(b []byte) string {
	s, _, _ := strings.Cut(strings.TrimSpace(string(b[:min(len(b), 300)])), "\n")
	return printable.Line(s)
}

// TokenError says that the peer did not accept the token as a whole, as opposed
// to [api.ErrPermission], which names one method it does not cover.
type TokenError struct {
	Peer    string
	Reason  string
	Missing bool // no token was given
}

// Error implements error.
func (e *TokenError) Error() string {
	hint := "make a new one there with auth create-token"
	if e.Missing {
		hint = "put a token before the address: TOKEN:ADDRESS"
	}
	return fmt.Sprintf("%s refused the token: %s; %s", e.Peer, e.Reason, hint)
}

// IsTokenRefused tells whether err says that the token was not accepted.
func IsTokenRefused(err error) bool {
	var t *TokenError
	return errors.As(err, &t)
}
