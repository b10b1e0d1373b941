package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/storage/fetch"
	"quarry/storage/paths"
)

// TestRoomIsWaitedFor, for a while.
func TestRoomIsWaitedFor(t *testing.T) {
	const need = 32 << 10
	for name, c := range map[string]struct {
		freed, stopped time.Duration
		want           time.Duration
		err            any
	}{
		"at once":    {freed: -1, want: 0},
		"in time":    {freed: 31 * time.Second, want: 35 * time.Second},
		"never":      {freed: time.Hour, want: 2 * time.Minute, err: new(*api.ErrNoSpace)},
		"no odd end": {freed: time.Hour, stopped: 12 * time.Second, want: 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "small")
			require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: "small", Weight: 1, CanSeal: true, MaxStorage: 64 << 10}))
			filler := filepath.Join(dir, "filler")
			if c.freed > 0 {
				require.NoError(t, os.WriteFile(filler, make([]byte, 60<<10), 0o600))
			}
			s := newSession(t, plain, dir)
			s.cfg.RoomWait = 2 * time.Minute
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.stopped > 0 {
					time.AfterFunc(c.stopped, cancel)
				}
				free := time.AfterFunc(max(c.freed, 0), func() { _ = os.Remove(filler) })
				defer free.Stop()
				start := time.Now()
				at, release, err := s.room(ctx, paths.Want{What: "cache", Types: api.FileCache, Need: need, Sealing: true})
				require.Equal(t, c.want, time.Since(start))
				if c.stopped > 0 {
					require.ErrorIs(t, err, context.Canceled)
				} else if c.err != nil {
					require.ErrorAs(t, err, c.err)
				} else {
					require.NoError(t, err)
					require.Equal(t, api.StorageID("small"), at.Meta.ID)
					release()
				}
			})
		})
	}
}

// TestDeclarationsWaitForThePath: an index that has forgotten it will learn of it
// again, unless it is attached here no more.
func TestDeclarationsWaitForThePath(t *testing.T) {
	s := newSession(t, plain, newPathDir(t))
	require.NoError(t, s.declare(t.Context(), s.at, api.FileCache, false))
	require.NoError(t, s.index.StorageDetach(t.Context(), "both", ""))
	require.ErrorAs(t, s.declare(t.Context(), s.at, api.FileCache, false), new(*api.ErrBusy))
	gone := s.at
	gone.Meta.ID = "gone"
	require.ErrorAs(t, s.declare(t.Context(), gone, api.FileCache, false), new(*api.ErrNotFound))
}

// TestDiskErrorsEndACall: waiting for the private node does not cure them.
func TestDiskErrorsEndACall(t *testing.T) {
	s := newSession(t, plain, newPathDir(t))
	bad := &os.PathError{Op: "unlink", Path: "x", Err: unix.EROFS}
	s.job.Claim = untilNil{s.claim}
	require.ErrorIs(t, s.ask(t.Context(), "x", func(context.Context) error { return bad }), unix.EROFS)
	calls := 0
	require.NoError(t, s.ask(t.Context(), "x", func(context.Context) error {
		if calls++; calls < 3 {
			return &api.ErrUnreachable{}
		}
		return nil
	}))
	require.Equal(t, 3, calls)
}

// untilNil is a claim whose calls are repeated until they are answered well.
type untilNil struct{ *claimed }

func (u untilNil) Ask(ctx context.Context, _ string, call func(context.Context) error) error {
	for call(ctx) != nil {
		continue
	}
	return nil
}

// TestFetching gives failures of transport their type, and tries every source.
func TestFetching(t *testing.T) {
	far := newSession(t, plain, newPathDir(t))
	pc1(t, far, 7)
	good := httptest.NewServer(fetch.Handler(far.local))
	t.Cleanup(good.Close)
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	t.Cleanup(bad.Close)
	s := newSession(t, plain, newPathDir(t))
	attach := func(id api.StorageID, url string) {
		require.NoError(t, s.index.StorageAttach(t.Context(), api.PathMeta{ID: id, Weight: 1}, url, api.FsStat{}))
		require.NoError(t, s.index.StorageDeclareSectors(t.Context(),
			[]api.SectorFile{{Sector: plain.ID, Type: api.FileCache, Storage: id}}))
	}
	_, err := s.have(t.Context(), api.FileCache)
	require.ErrorAs(t, err, new(*api.ErrNotFound))
	attach("silent", "")
	_, err = s.have(t.Context(), api.FileCache)
	require.ErrorAs(t, err, new(*api.ErrNotFound))
	require.ErrorContains(t, err, "serves no URL")
	attach("refuses", bad.URL+"/remote")
	_, err = s.have(t.Context(), api.FileCache)
	require.ErrorAs(t, err, new(*api.ErrUnreachable))
	require.NotErrorAs(t, err, new(*api.ErrPermission), "a token that is refused there is no refusal of the task")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&api.ErrLeaseLost{})
	_, err = s.have(ctx, api.FileCache)
	require.ErrorAs(t, err, new(*api.ErrLeaseLost))
	attach("serves", good.URL+"/remote")
	at, err := s.have(t.Context(), api.FileCache)
	require.NoError(t, err)
	require.Equal(t, contents(t, far.file(api.FileCache)), contents(t, at.FilePath(plain.ID, api.FileCache)))
	require.Contains(t, s.where(t, api.FileCache), api.StorageID("both"))
}

// TestDo refuses what it does not know, and names task and sector in failures.
func TestDo(t *testing.T) {
	s := newSession(t, plain, newPathDir(t))
	spec := api.TaskSpec{Key: "k", Type: "melt", Sector: plain, Params: json.RawMessage("{}")}
	_, err := s.Do(t.Context(), spec, s.claim)
	require.ErrorAs(t, err, new(*api.ErrInvalid))
	require.ErrorContains(t, err, "melt of sector s-t01000-3")
	spec.Type = api.TaskFinalize
	_, err = s.Do(t.Context(), spec, s.claim)
	require.ErrorAs(t, err, new(*api.ErrNotFound))
	spec.Params = json.RawMessage(`{"Unknown":1}`)
	_, err = s.Do(t.Context(), spec, s.claim)
	require.ErrorAs(t, err, new(*api.ErrInvalid))
	spec.Sector.ProofType = 99
	_, err = s.Do(t.Context(), spec, s.claim)
	require.ErrorAs(t, err, new(*api.ErrInvalid))
	for _, err := range []error{errTransient, fetch.ErrChecksum} {
		var away *api.ErrUnreachable
		require.ErrorAs(t, temporary(err), &away)
		require.ErrorIs(t, temporary(err), err)
		require.Equal(t, err.Error(), temporary(err).Error())
	}
	other := errors.New("other")
	require.Equal(t, other, temporary(other))
}

func TestOffered(t *testing.T) {
	require.Equal(t, All, Offered(nil, proverOf(192)))
	require.NotContains(t, Offered(nil, nil), api.TaskCommit2)
	require.NotContains(t, Offered(nil, nil), api.TaskProveUpdate2)
	require.Len(t, Offered(nil, nil), len(All)-2)
	require.Equal(t, []api.TaskType{api.TaskUnseal}, Offered([]api.TaskType{api.TaskUnseal, api.TaskCommit2}, nil))
	d := New(Config{}, Deps{Local: newSession(t, plain, newPathDir(t)).local})
	require.Equal(t, Config{RoomWait: 2 * time.Minute, PullPause: 250 * time.Millisecond}, d.cfg)
	d.Close()
}
