package conformance

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/node/serve"
	"quarry/storage/blobs"
)

// maxBulk is the limit that the tests set.
const maxBulk = 64 << 10

func newBulk(t *testing.T) (apitest.Bulk, *blobs.Store) {
	t.Helper()
	dir := t.TempDir()
	s, err := blobs.Open(blobs.Config{Dir: dir, Max: maxBulk})
	require.NoError(t, err)
	return apitest.Bulk{
		Blobs: s,
		Max:   maxBulk,
		Damage: func(t *testing.T, name api.CidString) {
			t.Helper()
			path := filepath.Join(dir, string(name))
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			b[len(b)/2] ^= 1
			require.NoError(t, os.WriteFile(path, b, 0o600))
		},
		Count: func(t *testing.T) int {
			t.Helper()
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			return len(entries)
		},
	}, s
}

// overHTTP serves a store and gives a client with a token that carries perms.
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

func TestBlobs(t *testing.T) {
	t.Run("in process", func(t *testing.T) {
		apitest.CheckBlobs(t, func(t *testing.T) apitest.Bulk {
			b, _ := newBulk(t)
			return b
		})
	})
	t.Run("http", func(t *testing.T) {
		apitest.CheckBlobs(t, func(t *testing.T) apitest.Bulk {
			b, s := newBulk(t)
			b.Blobs = overHTTP(t, s, api.PermWorker)
			return b
		})
	})
}

// TestBulkIsForWorkers: no other token puts or gets any.
func TestBulkIsForWorkers(t *testing.T) {
	for _, p := range api.AllPermissions {
		if p == api.PermWorker || p == api.PermAdmin {
			continue
		}
		b, s := newBulk(t)
		ref, err := s.BlobPut(t.Context(), strings.NewReader(""))
		require.NoError(t, err)
		c := overHTTP(t, s, p)
		var refused *api.ErrInvalid
		_, err = c.BlobOpen(t.Context(), ref)
		require.ErrorAs(t, err, &refused, p)
		require.Contains(t, refused.Reason, "403")
		require.ErrorAs(t, c.Put(t.Context(), ref, http.NoBody), &refused, p)
		require.Equal(t, 1, b.Count(t))
	}
}
