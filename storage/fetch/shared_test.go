package fetch

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/storage/index"
)

// away is an index whose process does not answer: it refuses, or it hangs.
type away struct {
	*index.Index
	err   error // nil: hang
	asked api.LockRequest
}

func (a *away) StorageLock(ctx context.Context, r api.LockRequest) (api.LockLease, error) {
	if a.asked = r; a.err != nil {
		return api.LockLease{}, a.err
	}
	<-ctx.Done()
	return api.LockLease{}, ctx.Err()
}

// A copy on a path of ours is served while the node that keeps the index is down
// or hangs; a lock that somebody has is respected.
func TestSharedPathServesWithoutTheIndex(t *testing.T) {
	unreachable := &api.ErrUnreachable{Peer: "the private node", Reason: "connection refused"}
	tests := map[string]struct {
		err   error
		local bool
		fails bool
		wait  time.Duration // that the index is asked to wait for a writer
		took  time.Duration
	}{
		"down":              {unreachable, true, false, time.Second, 0},
		"hangs":             {nil, true, false, time.Second, 2 * time.Second},
		"down, no copy":     {unreachable, false, true, 5 * time.Second, 0},
		"hangs, no copy":    {nil, false, true, 5 * time.Second, 6 * time.Second},
		"somebody is at it": {&api.ErrLocked{Sector: "s-t01000-5"}, true, true, time.Second, 0},
	}
	s := serve(t, nil)
	const size = 1 << 17
	want := randomBytes(127 * 1024)
	writeUnsealed(t, s, want, 0)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &away{Index: s.idx, err: tt.err}
				deps := ReaderDeps{Index: a}
				if tt.local {
					deps.Local = s.local
				}
				r := NewReader(ReaderConfig{}, deps)
				defer r.Close()
				began := time.Now()
				f, err := r.OpenUnsealed(t.Context(), sector, 0, size)
				require.Equal(t, tt.took, time.Since(began))
				require.Equal(t, tt.wait, a.asked.Wait)
				if tt.fails {
					require.Error(t, err)
					require.True(t, api.IsTemporary(err), "%v", err)
					return
				}
				require.NoError(t, err)
				got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.NoError(t, f.Close())
			})
		})
	}
}
