package paths

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestReserveIsOneStep: however many ask at once, no byte is given twice.
func TestReserveIsOneStep(t *testing.T) {
	d := newDisk()
	l, _, a, b := twoPaths(t, d)
	d.set(func() { d.free[a], d.free[b] = 1000, 1000 })
	var wg sync.WaitGroup
	var mu sync.Mutex
	var releases []func()
	for range 64 {
		wg.Go(func() {
			_, release, err := l.Alloc(context.Background(), want(100))
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			releases = append(releases, release)
		})
	}
	wg.Wait()
	require.Len(t, releases, 20)
	st, err := l.Stat("a")
	require.NoError(t, err)
	require.Equal(t, int64(1000), st.Reserved)
	require.Zero(t, st.Available)
	for _, r := range releases {
		r()
		r()
	}
	st, err = l.Stat("a")
	require.NoError(t, err)
	require.Zero(t, st.Reserved)
	require.Equal(t, int64(1000), st.Available)
	release, err := l.Reserve(t.Context(), "a", 1000)
	require.NoError(t, err)
	release()
	_, err = l.Reserve(t.Context(), "a", 1001)
	var full *api.ErrNoSpace
	require.ErrorAs(t, err, &full)
	_, err = l.Reserve(t.Context(), "a", 1<<63)
	require.ErrorAs(t, err, &full)
	var missing *api.ErrNotFound
	_, err = l.Reserve(t.Context(), "c", 1)
	require.ErrorAs(t, err, &missing)
}

// TestManyFilesAreDeclaredInBatches, each file once.
func TestManyFilesAreDeclaredInBatches(t *testing.T) {
	const sectors = 12_500
	dir := filepath.Join(t.TempDir(), "p")
	require.NoError(t, InitDir(dir, api.PathMeta{ID: "p", Weight: 1, CanStore: true}))
	d := newDisk()
	for n := range abi.SectorNumber(sectors) {
		name := api.SectorName(abi.SectorID{Miner: 1000, Number: n})
		d.names[api.FileSealed] = append(d.names[api.FileSealed], name)
		d.names[api.FileCache] = append(d.names[api.FileCache], name)
	}
	idx := newRecorder()
	l, err := Open(Config{}, Deps{Index: idx, Disk: d})
	require.NoError(t, err)
	start := time.Now()
	require.NoError(t, l.Add(t.Context(), dir))
	t.Logf("declared in %s", time.Since(start))
	require.Len(t, idx.declared, 2*sectors)
	require.Equal(t, 2*sectors/api.MaxDeclare, idx.batches)
	for f, n := range idx.declared {
		require.Equal(t, 1, n, f)
	}
}

// TestFiltersAreObeyed: what the lists of a path say of kinds and miners.
func TestFiltersAreObeyed(t *testing.T) {
	for name, c := range map[string]struct {
		meta api.PathMeta
		want Want
		why  string // empty: taken
	}{
		"no lists":            {api.PathMeta{}, Want{Types: api.FileSealed, Miner: 1002}, ""},
		"kind denied":         {api.PathMeta{DenyTypes: []string{"sealed"}}, Want{Types: api.FileSealed}, "DenyTypes names sealed"},
		"another kind denied": {api.PathMeta{DenyTypes: []string{"cache"}}, Want{Types: api.FileSealed}, ""},
		"one of two denied": {api.PathMeta{DenyTypes: []string{"cache"}}, Want{Types: api.FileSealed | api.FileCache},
			"DenyTypes names cache"},
		"kind allowed": {api.PathMeta{AllowTypes: []string{"sealed"}}, Want{Types: api.FileSealed}, ""},
		"kind not allowed": {api.PathMeta{AllowTypes: []string{"sealed"}}, Want{Types: api.FileUnsealed},
			"AllowTypes does not name unsealed"},
		"deny beats allow": {api.PathMeta{AllowTypes: []string{"sealed"}, DenyTypes: []string{"sealed"}},
			Want{Types: api.FileSealed}, "DenyTypes names sealed"},
		"miner denied": {api.PathMeta{DenyMiners: []string{"f01002"}}, Want{Types: api.FileSealed, Miner: 1002},
			"DenyMiners names f01002"},
		"on a test network": {api.PathMeta{DenyMiners: []string{"t01002"}}, Want{Types: api.FileSealed, Miner: 1002},
			"DenyMiners names f01002"},
		"another denied": {api.PathMeta{DenyMiners: []string{"f01003"}}, Want{Types: api.FileSealed, Miner: 1002}, ""},
		"miner not allowed": {api.PathMeta{AllowMiners: []string{"f01003"}}, Want{Types: api.FileSealed, Miner: 1002},
			"AllowMiners does not name f01002"},
		"miner allowed": {api.PathMeta{AllowMiners: []string{"f01002"}}, Want{Types: api.FileSealed, Miner: 1002}, ""},
		"group allowed": {api.PathMeta{Groups: []string{"g"}},
			Want{Types: api.FileSealed, From: []api.PathMeta{{ID: "src", AllowTo: []string{"h", "g"}}}}, ""},
		"group not allowed": {api.PathMeta{Groups: []string{"g"}},
			Want{Types: api.FileSealed, From: []api.PathMeta{{ID: "src", AllowTo: []string{"h"}}}},
			"AllowTo of storage path src names none of its groups"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "p")
			c.meta.ID, c.meta.Weight, c.meta.CanSeal = "p", 10, true
			require.NoError(t, InitDir(dir, c.meta))
			l, err := Open(Config{}, Deps{Index: newRecorder()})
			require.NoError(t, err)
			require.NoError(t, l.Add(t.Context(), dir))
			c.want.What, c.want.Need, c.want.Sealing = "x", 1, true
			_, release, err := l.Alloc(t.Context(), c.want)
			if c.why != "" {
				require.ErrorContains(t, err, c.why)
				return
			}
			require.NoError(t, err)
			release()
		})
	}
}

// TestSectorstoreIsUnderstood: what Lotus writes is read, what means nothing is
// named, and what is wrong is refused.
func TestSectorstoreIsUnderstood(t *testing.T) {
	lotus := `{"ID":"p","Weight":10,"CanSeal":true,"CanStore":true,"MaxStorage":0,"Groups":["g"],"AllowTo":["h"],
		"AllowTypes":["sealed"],"DenyTypes":["unsealed","update-cache"],"AllowMiners":["f01000"],"DenyMiners":["t01002"]}`
	for name, c := range map[string]struct{ text, why string }{
		"Lotus":         {lotus, ""},
		"case":          {`{"id":"p","weight":1}`, ""},
		"unknown keys":  {`{"ID":"p","DenyTypez":[],"Allow":1}`, `keys that mean nothing here: ["Allow" "DenyTypez"]`},
		"unknown kind":  {`{"ID":"p","DenyTypes":["seal"]}`, `names the kind of file "seal"`},
		"unknown miner": {`{"ID":"p","AllowMiners":["1000"]}`, `names the miner "1000"`},
		"key address":   {`{"ID":"p","AllowMiners":["f1abjxfbp274xpdqcpuaykwkfb43omjotacm2p3za"]}`, "ID address"},
		"no ID":         {`{"Weight":1}`, "no ID"},
		"no JSON":       {`{`, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, MetaFile), []byte(c.text), 0o600))
			l, err := Open(Config{}, Deps{Index: newRecorder()})
			require.NoError(t, err)
			err = l.Add(t.Context(), dir)
			if c.why == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.why)
			require.Empty(t, l.Paths())
			require.Empty(t, l.Troubles(), "what was refused is forgotten")
		})
	}
}
