package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"quarry/api"
)

// Route is where a private node serves blobs, followed by the name of one.
const Route = "/blobs/"

// transferTime bounds one request for a blob: 256 MiB at half a MiB/s.
const transferTime = 10 * time.Minute

// Handler serves a store under Route: PUT keeps the body, which must hash to the
// name, and GET gives a blob, with ranges.
func Handler(s *Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, err := Parse(strings.TrimPrefix(r.URL.Path, Route))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(transferTime)) // unsupported only in tests with a recorder
		_ = rc.SetWriteDeadline(time.Now().Add(transferTime))
		switch r.Method {
		case http.MethodPut:
			s.servePut(w, r, name)
		case http.MethodGet, http.MethodHead:
			s.serveGet(w, r, name)
		default:
			w.Header().Set("Allow", "GET, HEAD, PUT")
			http.Error(w, "a bulk result is put and got", http.StatusMethodNotAllowed)
		}
	})
}

func (s *Store) servePut(w http.ResponseWriter, r *http.Request, name api.CidString) {
	if r.ContentLength > s.cfg.Max {
		http.Error(w, fmt.Sprintf("bulk results have at most %d bytes", s.cfg.Max), http.StatusRequestEntityTooLarge)
		return
	}
	ref, err := s.BlobPut(r.Context(), r.Body)
	var invalid *api.ErrInvalid
	switch {
	case errors.As(err, &invalid):
		http.Error(w, invalid.Error(), http.StatusRequestEntityTooLarge)
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		http.Error(w, "no space is left for bulk results", http.StatusInsufficientStorage)
	case err != nil:
		http.Error(w, "the bulk result could not be kept", http.StatusInternalServerError)
	case ref.CID != name:
		http.Error(w, "the body has the name "+string(ref.CID)+": it changed on its way", http.StatusUnprocessableEntity)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

func (s *Store) serveGet(w http.ResponseWriter, r *http.Request, name api.CidString) {
	f, _, err := s.file(name)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		http.Error(w, missing.Error(), http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, "the bulk result could not be read", http.StatusInternalServerError)
		return
	}
	defer f.Close() //nolint:errcheck // read only
	w.Header().Set("ETag", `"`+string(name)+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}

var _ api.Blobs = (*Client)(nil)

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
	tr := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is what net/http documents
	tr.Proxy, tr.ResponseHeaderTimeout = nil, time.Minute
	return &Client{base: strings.TrimRight(deps.Base, "/"), token: deps.Token, http: &http.Client{Transport: tr, Timeout: transferTime}}, nil
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
	if err != nil {
		return nil, &api.ErrUnreachable{Peer: "the store of bulk results", Reason: err.Error()}
	}
	return resp, nil
}

// Put sends a blob whose name is known. *api.ErrInvalid is a refusal for good;
// *api.ErrBusy, *api.ErrNoSpace and *api.ErrUnreachable mean to try again.
func (c *Client) Put(ctx context.Context, ref api.BlobRef, body io.Reader) error {
	resp, err := c.do(ctx, http.MethodPut, ref, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	return statusError(resp, ref)
}

// BlobPut implements [api.Blobs]. It holds the bytes in memory to name them.
func (c *Client) BlobPut(ctx context.Context, r io.Reader) (api.BlobRef, error) {
	b, err := io.ReadAll(io.LimitReader(r, api.MaxBlob+1))
	if err != nil {
		return api.BlobRef{}, fmt.Errorf("bulk result: %w", err)
	}
	if len(b) > api.MaxBlob {
		return api.BlobRef{}, &api.ErrInvalid{What: "bulk result", Reason: fmt.Sprintf("it has more than %d bytes", api.MaxBlob)}
	}
	h := sha256.New()
	h.Write(b)
	name, err := nameOf(h)
	if err != nil {
		return api.BlobRef{}, err
	}
	ref := api.BlobRef{CID: name, Size: int64(len(b))}
	return ref, c.Put(ctx, ref, bytes.NewReader(b))
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
	return newChecked(resp.Body, ref), nil
}

// statusError gives an answer that is no success its meaning.
func statusError(resp *http.Response, ref api.BlobRef) error {
	what := "bulk result " + string(ref.CID)
	switch code := resp.StatusCode; {
	case code == http.StatusOK || code == http.StatusCreated:
		return nil
	case code == http.StatusNotFound:
		return &api.ErrNotFound{What: what, Hint: "the task that made it was forgotten"}
	case code == http.StatusInsufficientStorage:
		return &api.ErrNoSpace{What: what, NeedBytes: uint64(max(ref.Size, 0)), Hint: "free space where the private node keeps its repo"}
	case code == http.StatusTooManyRequests || code >= 500:
		return &api.ErrBusy{What: "the store of bulk results", Reason: resp.Status}
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // the status says enough where this fails
	return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("refused with %d: %q", resp.StatusCode, text)}
}
