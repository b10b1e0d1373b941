package blobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/storage/blobs/blobstest"
)

// served is a store behind HTTP, with a client and what was asked.
type served struct {
	*Client
	store *Store
	puts  atomic.Int32
	heads atomic.Int32
}

func serve(t *testing.T, h func(http.Handler) http.Handler) *served {
	t.Helper()
	s := &served{store: newStore(t)}
	handler := Handler(s.store)
	if h != nil {
		handler = h(handler)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut:
			s.puts.Add(1)
		case http.MethodHead:
			s.heads.Add(1)
		}
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	var err error
	s.Client, err = NewClient(ClientDeps{Base: srv.URL + "/", Token: func() string { return "secret" }})
	require.NoError(t, err)
	t.Cleanup(s.Client.Close)
	return s
}

// TestMirrorConforms: the node's store over HTTP, with a worker's before it.
func TestMirrorConforms(t *testing.T) {
	blobstest.Conform(t, func(t *testing.T) api.Blobs { return NewMirror(newStore(t), serve(t, nil).Client) })
}

// TestMirrorWithoutANodeConforms: the worker's store is the node's.
func TestMirrorWithoutANodeConforms(t *testing.T) {
	blobstest.Conform(t, func(t *testing.T) api.Blobs { return NewMirror(newStore(t), nil) })
}

// TestMirror keeps here first, sends once, fetches once, and sweeps its own only.
func TestMirror(t *testing.T) {
	node, own := serve(t, nil), newStore(t)
	m := NewMirror(own, node.Client)
	b := blobstest.Bytes(blobstest.VanillaSize)
	ref, err := m.Keep(t.Context(), bytes.NewReader(b))
	require.NoError(t, err)
	require.Empty(t, files(t, node.store))
	require.True(t, bytes.Equal(b, blobstest.Read(t, m, ref)), "it can be read here")
	for range 3 {
		require.NoError(t, m.Upload(t.Context(), ref))
	}
	require.Equal(t, int32(1), node.puts.Load(), "what the node has is not sent again")
	require.Equal(t, int32(3), node.heads.Load())
	require.True(t, bytes.Equal(b, blobstest.Read(t, node.store, ref)))

	require.NoError(t, os.Truncate(node.store.path(ref.CID), 5))
	require.NoError(t, m.Upload(t.Context(), ref))
	require.Equal(t, int32(2), node.puts.Load(), "what it has not whole is")

	other, err := node.store.BlobPut(t.Context(), strings.NewReader("of another worker"))
	require.NoError(t, err)
	require.Equal(t, "of another worker", string(blobstest.Read(t, m, other)))
	require.NoError(t, os.Remove(node.store.path(other.CID)))
	require.Equal(t, "of another worker", string(blobstest.Read(t, m, other)), "it lies here now")

	n, err := m.Sweep(map[api.CidString]bool{ref.CID: true}, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []string{string(ref.CID)}, files(t, own))

	var gone *api.ErrNotFound
	lost := blobstest.Ref(t, []byte("never kept"))
	require.ErrorAs(t, m.Upload(t.Context(), lost), &gone)
	_, err = m.BlobOpen(t.Context(), lost)
	require.ErrorAs(t, err, &gone)
	var invalid *api.ErrInvalid
	for _, size := range []int64{-1, blobstest.Max + 1} {
		_, err = m.BlobOpen(t.Context(), api.BlobRef{CID: ref.CID, Size: size})
		require.ErrorAs(t, err, &invalid)
	}
	require.NoError(t, os.WriteFile(own.path(ref.CID), bytes.Repeat([]byte{1}, len(b)), 0o600))
	require.NoError(t, os.Remove(node.store.path(ref.CID)))
	require.ErrorAs(t, m.Upload(t.Context(), ref), &gone, "a damaged copy is not sent")
	require.NotContains(t, files(t, node.store), string(ref.CID))
}

func TestMirrorWithoutANode(t *testing.T) {
	own := newStore(t)
	m := NewMirror(own, nil)
	ref, err := m.Keep(t.Context(), strings.NewReader("proof"))
	require.NoError(t, err)
	require.NoError(t, m.Upload(t.Context(), ref))
	n, err := m.Sweep(nil, 0)
	require.NoError(t, err)
	require.Zero(t, n, "what tasks name is the node's business")
	require.NoError(t, os.Remove(own.path(ref.CID)))
	var gone *api.ErrNotFound
	require.ErrorAs(t, m.Upload(t.Context(), ref), &gone)
}

// TestFetchedOnceForAll who want it at the same time.
func TestFetchedOnceForAll(t *testing.T) {
	var gets atomic.Int32
	wait := make(chan struct{})
	node := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if gets.Add(1) == 1 {
				<-wait
			}
			h.ServeHTTP(w, r)
		})
	})
	b := blobstest.Bytes(5000)
	ref, err := node.store.BlobPut(t.Context(), bytes.NewReader(b))
	require.NoError(t, err)
	m := NewMirror(newStore(t), node.Client)
	got := make(chan error, 4)
	for range 4 {
		go func() {
			r, err := m.BlobOpen(context.Background(), ref)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				err = errors.Join(err, r.Close())
			}
			got <- err
		}()
	}
	impatient, cancel := context.WithCancel(t.Context())
	require.Eventually(t, func() bool { return gets.Load() == 1 }, 10*time.Second, time.Millisecond)
	cancel()
	_, err = m.BlobOpen(impatient, ref)
	require.ErrorIs(t, err, context.Canceled)
	close(wait)
	for range 4 {
		require.NoError(t, <-got)
	}
	require.Equal(t, int32(1), gets.Load())
	require.Empty(t, m.fetching)
}

// answers are what an error of each status is to be.
var answers = map[int]any{
	http.StatusOK:                    nil,
	http.StatusCreated:               nil,
	http.StatusBadRequest:            new(*api.ErrInvalid),
	http.StatusMethodNotAllowed:      new(*api.ErrInvalid),
	http.StatusNotFound:              new(*api.ErrInvalid), // for a PUT
	http.StatusConflict:              new(*api.ErrInvalid),
	http.StatusRequestEntityTooLarge: new(*api.ErrInvalid),
	http.StatusUnprocessableEntity:   new(*api.ErrInvalid),
	http.StatusNoContent:             new(*api.ErrInvalid),
	http.StatusUnauthorized:          new(*api.ErrPermission),
	http.StatusForbidden:             new(*api.ErrPermission),
	http.StatusRequestTimeout:        new(*api.ErrBusy),
	http.StatusTooEarly:              new(*api.ErrBusy),
	http.StatusTooManyRequests:       new(*api.ErrBusy),
	http.StatusInternalServerError:   new(*api.ErrBusy),
	http.StatusBadGateway:            new(*api.ErrBusy),
	http.StatusServiceUnavailable:    new(*api.ErrBusy),
	http.StatusInsufficientStorage:   new(*api.ErrNoSpace),
}

// TestAnswers gives every status its meaning for the worker.
func TestAnswers(t *testing.T) {
	ref := blobstest.Ref(t, []byte("proof"))
	for code, want := range answers {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(code)
		}))
		c, err := NewClient(ClientDeps{Base: srv.URL})
		require.NoError(t, err)
		err = c.Put(t.Context(), ref, strings.NewReader("proof"))
		if want == nil {
			require.NoError(t, err, code)
		} else {
			require.ErrorAs(t, err, want, "%d: %v", code, err)
		}
		if code == http.StatusNotFound {
			_, err = c.BlobOpen(t.Context(), ref)
			require.ErrorAs(t, err, new(*api.ErrNotFound))
			there, err := c.Has(t.Context(), ref)
			require.NoError(t, err)
			require.False(t, there)
		} else if code > 299 {
			_, err = c.Has(t.Context(), ref)
			require.ErrorAs(t, err, want)
		}
		c.Close()
		srv.Close()
	}
}

// TestClientRefusals before anything is asked, and of servers that are none.
func TestClientRefusals(t *testing.T) {
	for _, base := range []string{"", "node:1234", "ftp://node/", "http://", "http://\x7f"} {
		_, err := NewClient(ClientDeps{Base: base})
		require.ErrorAs(t, err, new(*api.ErrInvalid), base)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter,
		r *http.Request) {
		t.Errorf("the token travelled: %s", r.URL)
	}))
	t.Cleanup(elsewhere.Close)
	srv := httptest.NewServer(http.RedirectHandler(elsewhere.URL+Route, http.StatusTemporaryRedirect))
	c, err := NewClient(ClientDeps{Base: srv.URL, Token: func() string { return "t" }})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	ref := blobstest.Ref(t, []byte("proof"))
	_, err = c.BlobOpen(t.Context(), ref)
	require.ErrorAs(t, err, new(*api.ErrUnreachable))
	srv.Close()
	_, err = c.Has(t.Context(), ref)
	require.ErrorAs(t, err, new(*api.ErrUnreachable))
	_, err = c.Has(t.Context(), api.BlobRef{CID: "x"})
	require.ErrorAs(t, err, new(*api.ErrInvalid))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Has(ctx, ref)
	require.ErrorIs(t, err, context.Canceled)
}

// TestConnectionThatBreaks is the network's fault, not the blob's.
func TestConnectionThatBreaks(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = w.Write([]byte("pro"))
	}))
	t.Cleanup(srv.Close)
	c, err := NewClient(ClientDeps{Base: srv.URL})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	r, err := c.BlobOpen(t.Context(), blobstest.Ref(t, []byte("proof")))
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.ErrorAs(t, err, new(*api.ErrUnreachable))
	require.NoError(t, r.Close())
}

// TestOwnBytesThatFail are no fault of the node.
func TestOwnBytesThatFail(t *testing.T) {
	node := serve(t, nil)
	broken := errors.New("disk error")
	err := node.Put(t.Context(), blobstest.Ref(t, []byte("proof")), errReader{broken})
	require.ErrorIs(t, err, broken)
}
