package deals

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/transfer"
)

// Staged bytes that are lost or damaged after publication are fetched again and
// checked; the deal does not end for it.
func TestLostStagedBytesAreFetchedAgain(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, w *world, path string){
		"lost": func(t *testing.T, _ *world, path string) { require.NoError(t, os.Remove(path)) },
		"torn": func(t *testing.T, _ *world, path string) { require.NoError(t, os.Truncate(path, 100)) },
		"too long": func(t *testing.T, w *world, path string) {
			require.NoError(t, os.WriteFile(path, append(w.payload, 0), 0o600))
		},
		"not there, and the server is away": func(t *testing.T, w *world, path string) {
			w.fail["Fetch"] = []error{&transfer.FatalError{Err: errors.New("404")}, errors.New("refused")}
			require.NoError(t, os.Remove(path))
		},
		"not there, and the server sends rubbish": func(t *testing.T, w *world, path string) {
			w.served = append([]byte("x"), w.payload[1:]...)
			require.NoError(t, os.Remove(path))
			time.AfterFunc(10*epoch, func() { w.mu.Lock(); w.served = w.payload; w.mu.Unlock() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.fail["SectorPlacement"] = slices.Repeat([]error{&api.ErrUnreachable{}}, 3)
				p := w.open(memory())
				defer w.run(p)()
				id := w.deal(p)
				w.until(p, id, "is published", func(r *Record) bool { return r.Checkpoint == api.DealPublishConfirmed && r.Err != "" })
				w.mu.Lock()
				spoil(t, w, p.StagedPath(id))
				w.mu.Unlock()
				rec := w.until(p, id, "comes home", func(r *Record) bool {
					require.Equal(t, api.DealRetryAuto, r.Retry)
					return r.Final()
				})
				require.True(t, rec.Active)
				require.Len(t, w.adds, 1)
			})
		})
	}
}

// Sealing that read other bytes than were staged has us look at ours.
func TestMismatchAtSealingChecksOurBytes(t *testing.T) {
	for _, damaged := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			p := w.open(memory())
			defer w.run(p)()
			first := true
			w.onAdd = func(r api.AddPieceRequest) error {
				if !first {
					return nil
				}
				first = false
				if damaged {
					id := strings.TrimPrefix(r.Data.URL, "/staged/")
					require.NoError(t, os.WriteFile(w.dir+"/"+id+stagedSuffix, append([]byte("x"), w.payload[1:]...), 0o600))
				}
				return &api.ErrPieceMismatch{Want: "a", Got: "b"}
			}
			rec := w.until(p, w.deal(p), "comes home", func(r *Record) bool {
				require.Equal(t, api.DealRetryAuto, r.Retry)
				return r.Final()
			})
			require.True(t, rec.Active)
			require.Len(t, w.adds, 1)
			want := 1
			if damaged {
				want = 2
			}
			require.Equal(t, want, w.calls["Fetch"])
		})
	}
}

// Deals of earlier versions, whose bytes went at the hand-off, end as they must.
func TestDealsWithoutStagedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.seal = 1 << 30
		p := w.open(memory())
		defer w.run(p)()
		w.fail["AddDeal"] = []error{errors.New("x")}
		id := w.deal(p)
		w.until(p, id, "is placed", func(r *Record) bool { return r.Checkpoint == api.DealAddedPiece && r.Err != "" })
		w.mu.Lock()
		w.fail["Fetch"] = slices.Repeat([]error{&transfer.FatalError{Err: errors.New("404")}}, 100000)
		require.NoError(t, os.Remove(p.StagedPath(id)))
		w.mu.Unlock()
		w.until(p, id, "cannot be indexed", func(r *Record) bool { return strings.Contains(r.Err, "cannot be fetched again") })
		w.mu.Lock()
		w.active = 1200 // it came through all the same
		w.mu.Unlock()
		rec := w.untilComplete(p, id)
		require.True(t, rec.Active)
		require.True(t, slices.ContainsFunc(rec.Log, func(l api.DealLogEntry) bool {
			return strings.HasPrefix(l.Message,
				"not indexed: ")
		}))
	})
}
