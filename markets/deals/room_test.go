package deals

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// offered are n signed proposals of 1000 bytes each, affordable all at once.
func offered(t *testing.T, f *fixture, n int) []fixture {
	t.Helper()
	f.chain.escrow *= int64(n) + 1
	var out []fixture
	for range n {
		f.params.DealUUID = uuid.New()
		f.prop().StartEpoch++
		f.prop().EndEpoch++
		f.sign(t)
		out = append(out, *f)
	}
	return out
}

// No deal is accepted without room for it and for all that was accepted before,
// on either side of each bound.
func TestRoomBounds(t *testing.T) {
	const size = 1000
	for name, row := range map[string]struct {
		limit, free uint64
		freeErr     error
		staged      int // bytes of the first deal on disk
		want        []string
	}{
		"no limit, much room":         {0, 1 << 40, nil, 0, []string{"", ""}},
		"limit for one":               {2*size - 1, 1 << 40, nil, 0, []string{"", "no space left"}},
		"limit for both":              {2 * size, 1 << 40, nil, 0, []string{"", ""}},
		"limit for none":              {size - 1, 1 << 40, nil, 0, []string{"no space left", "no space left"}},
		"limit counts what is staged": {2*size - 1, 1 << 40, nil, size, []string{"", "no space left"}},
		"disk for none":               {0, keepFree + size - 1, nil, 0, []string{"no space left", "no space left"}},
		"disk for one":                {0, keepFree + 2*size - 1, nil, 0, []string{"", "no space left"}},
		"disk for both":               {0, keepFree + 2*size, nil, 0, []string{"", ""}},
		"the first is there in part":  {0, keepFree + 2*size - 300, nil, 300, []string{"", ""}},
		"one byte too little":         {0, keepFree + 2*size - 301, nil, 300, []string{"", "no space left"}},
		"the first is there":          {0, keepFree + size, nil, size, []string{"", ""}},
		"more than the first is":      {0, keepFree + size - 1, nil, size + 500, []string{"no space left", "no space left"}},
		"less than is kept":           {0, keepFree - 1, nil, 0, []string{"no space left", "no space left"}},
		"disk that does not answer": {0, 0, errors.New("stale handle"), 0,
			[]string{"server error: reading the free space", "server error"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := good(t)
			f.policy.MaxStagingBytes = row.limit
			all := offered(t, f, 2)
			p := f.provider(t, memory())
			p.deps.Free = func(dir string) (uint64, error) {
				require.Equal(t, p.cfg.StagingDir, dir)
				return row.free, row.freeErr
			}
			for i := range all {
				resp := p.Propose(context.Background(), &all[i].params, "peer")
				require.Equal(t, row.want[i] == "", resp.Accepted, "deal %d: %s", i, resp.Message)
				require.Contains(t, resp.Message, row.want[i])
				if i == 0 && resp.Accepted && row.staged > 0 {
					require.NoError(t, os.WriteFile(p.StagedPath(all[0].params.DealUUID), make([]byte, row.staged), 0o600))
				}
			}
		})
	}
}

// Many proposals at a time are promised no more than there is.
func TestRoomIsPromisedOnce(t *testing.T) {
	const n, fits = 40, 7
	f := good(t)
	f.policy.MaxStagingBytes = fits*1000 + 999
	all := offered(t, f, n)
	p := f.provider(t, memory())
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			if p.Propose(context.Background(), &all[i].params, "peer").Accepted {
				accepted.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, fits, accepted.Load())
	for _, r := range p.deps.Store.List()[:2] { // two are over: their room is free again
		_, err := p.deps.Store.Update(context.Background(), r.UUID, func(r *Record) { r.Checkpoint = api.DealComplete })
		require.NoError(t, err)
	}
	again := 0
	for i := range all {
		if p.Propose(context.Background(), &all[i].params, "peer").Accepted {
			again++
		}
	}
	require.Equal(t, 2, again)
}

func TestFreeBytes(t *testing.T) {
	n, err := freeBytes(t.TempDir())
	require.NoError(t, err)
	require.Greater(t, n, uint64(1<<10))
	_, err = freeBytes(t.TempDir() + "/not/there")
	require.ErrorContains(t, err, "stat staging directory")
}
