package conformance

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/node/serve"
	"quarry/storage/blobs"
	"quarry/storage/blobs/blobstest"
)

// overHTTP serves a store by the listener of a node and gives a client with a
// token that carries perms.
func overHTTP(t *testing.T, s *blobs.Store, perms ...api.Permission) *blobs.Client {
	t.Helper()
	verify := func(_ context.Context, token string) ([]api.Permission, error) {
		if token != "to.k.en" {
			return nil, errors.New("unknown token")
		}
		return perms, nil
	}
	srv, err := serve.New(serve.Config{Listen: "127.0.0.1:0"}, serve.Deps{Verify: verify})
	require.NoError(t, err)
	srv.Handle("GET "+blobs.Route, api.PermWorker, blobs.Handler(s))
	srv.Handle("PUT "+blobs.Route, api.PermWorker, blobs.Handler(s))
	background(t, srv.Run)
	c, err := blobs.NewClient(blobs.ClientDeps{Base: "http://" + srv.Addr(), Token: func() string { return "to.k.en" }})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func newBulk(t *testing.T) *blobs.Store {
	t.Helper()
	s, err := blobs.Open(blobs.Config{Dir: t.TempDir(), Max: blobstest.Max})
	require.NoError(t, err)
	return s
}

// TestBlobs: what a worker reaches through the listener of its node does what
// every store does.
func TestBlobs(t *testing.T) {
	blobstest.Conform(t, func(t *testing.T) api.Blobs {
		return blobs.NewMirror(newBulk(t), overHTTP(t, newBulk(t), api.PermWorker))
	})
}

// TestBulkIsForWorkers: no other token puts or gets any, an admin's does.
func TestBulkIsForWorkers(t *testing.T) {
	for _, p := range api.AllPermissions {
		s := newBulk(t)
		ref, err := s.BlobPut(t.Context(), strings.NewReader("kept"))
		require.NoError(t, err)
		c := overHTTP(t, s, p)
		r, err := c.BlobOpen(t.Context(), ref)
		put := c.Put(t.Context(), ref, strings.NewReader("kept"))
		if p == api.PermWorker || p == api.PermAdmin {
			require.NoError(t, errors.Join(err, put), p)
			require.NoError(t, r.Close())
			continue
		}
		for _, err := range []error{err, put} {
			var missing *api.ErrPermission
			require.ErrorAs(t, err, &missing, p)
			require.Equal(t, api.PermWorker, missing.Need)
		}
	}
}
