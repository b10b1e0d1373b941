package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"quarry/api"
)

// headerTime bounds the wait for the first byte of an answer. A PUT is answered
// when the bytes are on the disk there.
const headerTime = 2 * time.Minute

// Client reaches the store of a private node.
type Client struct {
	base  string
	token func() string
	http  *http.Client
}

// ClientDeps of a Client.
type ClientDeps struct {
	Base  string        // http(s)://host:port of the private node
	Token func() string // bearer with permission worker
}

// NewClient makes a client; it does not connect. *api.ErrInvalid for a base that
// is no URL.
func NewClient(deps ClientDeps) (*Client, error) {
	u, err := url.Parse(deps.Base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, &api.ErrInvalid{What: "address of the private node", Reason: "it is not http(s)://host:port"}
	}
	if deps.Token == nil {
		deps.Token = func() string { return "" }
	}
	tr := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is what net/http documents
	tr.Proxy, tr.ResponseHeaderTimeout, tr.DisableCompression = nil, headerTime, true
	return &Client{base: strings.TrimRight(deps.Base, "/"), token: deps.Token, http: &http.Client{
		Transport: tr,
		Timeout:   transferTime,
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			return fmt.Errorf("refused a redirect to %s: a token must not travel", r.URL.Host)
		},
	}}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) do(ctx context.Context, method string, ref api.BlobRef, body io.Reader) (*http.Response, error) {
	if _, err := Parse(string(ref.CID)); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+Route+string(ref.CID), body)
	if err != nil {
		return nil, fmt.Errorf("bulk result %s: %w", ref.CID, err)
	}
	if body != nil {
		req.ContentLength = ref.Size
	}
	req.Header.Set("Authorization", "Bearer "+c.token())
	resp, err := c.http.Do(req)
	switch {
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("bulk result %s: %w", ref.CID, ctx.Err())
	}
	return nil, &api.ErrUnreachable{Peer: "the store of bulk results", Reason: err.Error()}
}

// Has tells whether the node keeps a blob whole, and has it kept for a while.
func (c *Client) Has(ctx context.Context, ref api.BlobRef) (bool, error) {
	resp, err := c.do(ctx, http.MethodHead, ref, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close() //nolint:errcheck // no body
	var missing *api.ErrNotFound
	if err := statusError(resp, ref); errors.As(err, &missing) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return resp.ContentLength == ref.Size, nil
}

// Put sends a blob whose name is known. *api.ErrInvalid is a refusal for good;
// *api.ErrBusy, *api.ErrNoSpace and *api.ErrUnreachable mean to try again. What
// body fails with comes back as it is.
func (c *Client) Put(ctx context.Context, ref api.BlobRef, body io.Reader) error {
	own := &source{r: body}
	resp, err := c.do(ctx, http.MethodPut, ref, own)
	if failed := own.err.Load(); failed != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return *failed
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	err = statusError(resp, ref)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		return &api.ErrInvalid{
			What:   "bulk result " + string(ref.CID),
			Reason: "the process asked keeps none",
			Hint:   "is this the address of the private node, and of this version?",
		}
	}
	return err
}

// source tells a failure of our own bytes from one of the connection.
type source struct {
	r   io.Reader
	err atomic.Pointer[error] // the connection may read on when the answer is there
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // readers return it bare
		s.err.Store(&err)
	}
	return n, err
}

// BlobOpen reads a blob; *api.ErrNotFound when the node does not have it.
func (c *Client) BlobOpen(ctx context.Context, ref api.BlobRef) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, ref, nil)
	if err != nil {
		return nil, err
	}
	if err := statusError(resp, ref); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	return newChecked(&remoteBody{resp.Body}, ref), nil
}

// remoteBody says of a connection that broke what it is.
type remoteBody struct{ io.ReadCloser }

// Read implements io.Reader.
func (r *remoteBody) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // bodies return it bare
		return n, &api.ErrUnreachable{Peer: "the store of bulk results", Reason: err.Error()}
	}
	return n, err
}

// statusError gives an answer that is no success its meaning.
func statusError(resp *http.Response, ref api.BlobRef) error {
	what := "bulk result " + string(ref.CID)
	switch code := resp.StatusCode; {
	case code == http.StatusOK || code == http.StatusCreated:
		return nil
	case code == http.StatusNotFound:
		return &api.ErrNotFound{What: what, Hint: "the task that made it was forgotten"}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return &api.ErrPermission{Method: "bulk results", Need: api.PermWorker}
	case code == http.StatusInsufficientStorage:
		return &api.ErrNoSpace{What: what, NeedBytes: uint64(max(ref.Size, 0)), Hint: "free space where the private node keeps its repo"}
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500:
		return &api.ErrBusy{What: "the store of bulk results", Reason: resp.Status}
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // the status says enough where this fails
	return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("refused with %d: %q", resp.StatusCode, text)}
}
