package worker

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/storage"
	"quarry/storage/blobs"
	"quarry/storage/index"
	"quarry/storage/paths"
)

const testSize = abi.SectorSize(2 << 10)

func testRef(typ abi.RegisteredSealProof) api.SectorRef {
	return api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 3}, ProofType: typ}
}

var plain = testRef(abi.RegisteredSealProof_StackedDrg2KiBV1_1)

func ticketOf(b byte) abi.SealRandomness { return bytes.Repeat([]byte{b}, 32) }

// newSession is a worker on a path; another one on the same path is what comes
// after the process was killed.
func newSession(t *testing.T, dir string) (*Worker, paths.Path) {
	t.Helper()
	store := func() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }
	idx := index.New(index.Config{})
	local, err := paths.Open(paths.Config{}, paths.Deps{Index: idx})
	require.NoError(t, err)
	require.NoError(t, local.Add(t.Context(), dir))
	bulk, err := blobs.Open(blobs.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	m, err := storage.New(storage.Config{}, storage.Deps{Store: store(), Index: idx, Local: local, Blobs: bulk})
	require.NoError(t, err)
	w, err := New(t.Context(), Config{}, Deps{Storage: m, Local: local, Store: store(), Blobs: bulk})
	require.NoError(t, err)
	return w, local.Paths()[0]
}

func newPathDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "both")
	require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: "both", Weight: 10, CanSeal: true, CanStore: true}))
	return dir
}

func pc1(t *testing.T, w *Worker, s api.SectorRef, b byte) porep.PreCommit1Out {
	t.Helper()
	out, err := w.layers(t.Context(), s, testSize, api.PreCommit1Params{Ticket: ticketOf(b)}, zeros(testSize), newProgress())
	require.NoError(t, err)
	return out
}

func isFile(names ...string) bool {
	_, err := os.Stat(filepath.Join(names...))
	return err == nil
}

// stopsAt is over once a file exists; it is asked between the steps of the work.
type stopsAt struct {
	context.Context //nolint:containedctx // one test
	file            string
}

func (c stopsAt) Err() error {
	if isFile(c.file) {
		return context.Canceled
	}
	return c.Context.Err()
}

// stoppedPC1 leaves one whole layer of two, and gives the directory it is in.
func stoppedPC1(t *testing.T, w *Worker, at paths.Path) string {
	t.Helper()
	made, err := at.MadePath(plain.ID, api.FileCache)
	require.NoError(t, err)
	ctx := stopsAt{t.Context(), filepath.Join(made, "sc-02-data-layer-1.dat.done")}
	_, err = w.layers(ctx, plain, testSize, api.PreCommit1Params{Ticket: ticketOf(7)}, zeros(testSize), newProgress())
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, isFile(made, "sc-02-data-layer-1.dat.done"), "the first layer is kept")
	_, published := w.deps.Local.Find(plain.ID, api.FileCache)
	require.False(t, published)
	return made
}

// TestStoppedPC1GoesOnBehindWholeLayers, but only for the same ticket.
func TestStoppedPC1GoesOnBehindWholeLayers(t *testing.T) {
	dir := newPathDir(t)
	w, at := newSession(t, dir)
	made := stoppedPC1(t, w, at)
	written := modified(t, made, "sc-02-data-layer-1.dat")

	w, at = newSession(t, dir)
	_, home, release, err := w.layersHome(plain, testSize, api.PreCommit1Params{Ticket: ticketOf(7)})
	require.NoError(t, err)
	release()
	require.Equal(t, made, home)
	require.True(t, isFile(made, "sc-02-data-layer-1.dat.done"))
	got := pc1(t, w, plain, 7)
	require.False(t, isFile(made))
	cache := at.FilePath(plain.ID, api.FileCache)
	require.Equal(t, written, modified(t, cache, "sc-02-data-layer-1.dat"), "the first layer was not computed again")
	require.False(t, isFile(cache, inputName))
	require.False(t, isFile(cache, "sc-02-data-layer-1.dat.done"))

	fresh, other := newSession(t, newPathDir(t))
	require.Equal(t, got, pc1(t, fresh, plain, 7))
	require.Equal(t, contents(t, other.FilePath(plain.ID, api.FileCache)), contents(t, cache))
}

func TestLayersOfAnotherTicketAreWiped(t *testing.T) {
	dir := newPathDir(t)
	w, at := newSession(t, dir)
	made := stoppedPC1(t, w, at)
	require.NoError(t, os.WriteFile(filepath.Join(made, "stray"), nil, 0o600))
	pc1(t, w, plain, 8)
	require.False(t, isFile(at.FilePath(plain.ID, api.FileCache), "stray"))
}

// TestFailedPC1LeavesNothing: only what was stopped is gone on with.
func TestFailedPC1LeavesNothing(t *testing.T) {
	w, at := newSession(t, newPathDir(t))
	_, err := w.layers(t.Context(), plain, testSize, api.PreCommit1Params{Ticket: ticketOf(7)}, broken{}, newProgress())
	require.ErrorIs(t, err, errBroken)
	made, err := at.MadePath(plain.ID, api.FileCache)
	require.NoError(t, err)
	require.False(t, isFile(made))
}

var errBroken = errors.New("broken disk")

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

// TestStoppedPC2GoesOn behind tree-c, whatever is in the replica by then; nothing
// is declared before it is done.
func TestStoppedPC2GoesOn(t *testing.T) {
	want, wantFiles, wantSealed := sealedWithoutStop(t)
	for name, torn := range map[string][]byte{"as left": nil, "torn": bytes.Repeat([]byte{0xff}, 100), "too long": make([]byte, 5000)} {
		t.Run(name, func(t *testing.T) {
			dir := newPathDir(t)
			w, at := newSession(t, dir)
			out := pc1(t, w, plain, 7)
			cache := at.FilePath(plain.ID, api.FileCache)
			mark := filepath.Join(cache, "sc-02-data-tree-c.dat.done")
			_, err := w.replicate(stopsAt{t.Context(), mark}, plain, testSize, out, zeros(testSize), at, at, newProgress())
			require.ErrorIs(t, err, context.Canceled)
			require.True(t, isFile(mark))
			_, found := w.deps.Local.Find(plain.ID, api.FileSealed)
			require.False(t, found, "a replica that is not whole was published")
			made, err := at.MadePath(plain.ID, api.FileSealed)
			require.NoError(t, err)
			require.True(t, isFile(made))
			if torn != nil {
				require.NoError(t, os.WriteFile(made, torn, 0o600))
			}
			treeC := modified(t, cache, "sc-02-data-tree-c.dat")

			w, at = newSession(t, dir)
			com, err := w.replica(t.Context(), plain, testSize, out, zeros(testSize), at, newProgress())
			require.NoError(t, err)
			require.Equal(t, want, com)
			require.Equal(t, treeC, modified(t, cache, "sc-02-data-tree-c.dat"), "tree-c was built again")
			require.Equal(t, wantFiles, contents(t, cache))
			raw, err := os.ReadFile(at.FilePath(plain.ID, api.FileSealed))
			require.NoError(t, err)
			require.Equal(t, wantSealed, raw)
			require.False(t, isFile(made))
		})
	}
}

func sealedWithoutStop(t *testing.T) (com porep.Commitments, cache map[string]string, sealed []byte) {
	t.Helper()
	w, at := newSession(t, newPathDir(t))
	out := pc1(t, w, plain, 7)
	com, err := w.replica(t.Context(), plain, testSize, out, zeros(testSize), at, newProgress())
	require.NoError(t, err)
	sealed, err = os.ReadFile(at.FilePath(plain.ID, api.FileSealed))
	require.NoError(t, err)
	return com, contents(t, at.FilePath(plain.ID, api.FileCache)), sealed
}

// TestSweep deletes what was begun of files that exist elsewhere, and nothing
// that is locked, lacks its file, or is about to be gone on with.
func TestSweep(t *testing.T) {
	w, at := newSession(t, newPathDir(t))
	id := func(n abi.SectorNumber) abi.SectorID { return abi.SectorID{Miner: 1000, Number: n} }
	begin := func(n abi.SectorNumber, typ api.FileType, elsewhere bool) string {
		name, err := at.MadePath(id(n), typ)
		require.NoError(t, err)
		require.NoError(t, os.Mkdir(name, 0o700))
		if elsewhere {
			require.NoError(t, w.deps.Local.Declare(t.Context(), api.SectorFile{Sector: id(n), Type: typ, Storage: at.Meta.ID}))
		}
		return name
	}
	gone := []string{begin(1, api.FileCache, true), begin(2, api.FileSealed, true)}
	stay := []string{begin(3, api.FileCache, false), begin(4, api.FileCache, true), begin(5, api.FileCache, true)}
	_, release, err := index.Hold(t.Context(), w.deps.Storage, api.LockRequest{Sector: id(4), Write: api.FileCache, Holder: "test"})
	require.NoError(t, err)
	defer release()
	w.sweep(t.Context(), id(5))
	for _, name := range gone {
		require.False(t, isFile(name), name)
	}
	for _, name := range stay {
		require.True(t, isFile(name), name)
	}
}

// TestLostTaskLeavesNothing: what belongs to another worker now only takes room.
func TestLostTaskLeavesNothing(t *testing.T) {
	w, at := newSession(t, newPathDir(t))
	out := pc1(t, w, plain, 7)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&api.ErrLeaseLost{})
	_, err := w.replicate(ctx, plain, testSize, out, zeros(testSize), at, at, newProgress())
	require.Error(t, err)
	made, err := at.MadePath(plain.ID, api.FileSealed)
	require.NoError(t, err)
	require.False(t, isFile(made))
}

func modified(t *testing.T, dir, name string) int64 {
	t.Helper()
	st, err := os.Stat(filepath.Join(dir, name))
	require.NoError(t, err)
	return st.ModTime().UnixNano()
}

// contents are all files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	names, err := paths.CacheDir(dir).List()
	require.NoError(t, err)
	out := map[string]string{}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		out[n] = string(b)
	}
	require.NotContains(t, strings.Join(names, " "), ".done")
	return out
}
