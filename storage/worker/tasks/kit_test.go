package tasks

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
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

var (
	plain = testRef(abi.RegisteredSealProof_StackedDrg2KiBV1_1)
	synth = testRef(abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep)
)

func ticketOf(b byte) abi.SealRandomness { return bytes.Repeat([]byte{b}, 32) }

// claimed is a claim that a test decides about.
type claimed struct {
	id    api.UUID
	blobs *blobs.Store
	lost  error // what Confirm says
	asked []string
}

func (c *claimed) ID() api.UUID             { return c.id }
func (c *claimed) Set(string, int64, int64) {}
func (c *claimed) Ask(ctx context.Context, what string, call func(context.Context) error) error {
	c.asked = append(c.asked, what)
	return call(ctx)
}
func (c *claimed) Confirm(context.Context) error { return c.lost }
func (c *claimed) Keep(ctx context.Context, r io.Reader) (api.BlobRef, error) {
	return c.blobs.BlobPut(ctx, r)
}
func (c *claimed) Open(ctx context.Context, ref api.BlobRef) (io.ReadCloser, error) {
	return c.blobs.BlobOpen(ctx, ref)
}

// session is a worker on paths, with one task of a sector; another one on the
// same paths is what comes after the process was killed.
type session struct {
	*job
	claim *claimed
	index *index.Index
	at    paths.Path // the first path
}

func newSession(t *testing.T, s api.SectorRef, dirs ...string) *session {
	t.Helper()
	idx := index.New(index.Config{})
	local, err := paths.Open(paths.Config{}, paths.Deps{Index: idx})
	require.NoError(t, err)
	for _, dir := range dirs {
		require.NoError(t, local.Add(t.Context(), dir))
	}
	bulk, err := blobs.Open(blobs.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	m, err := storage.New(storage.Config{}, storage.Deps{Store: dssync.MutexWrap(datastore.NewMapDatastore()), Index: idx,
		Local: local, Blobs: bulk})
	require.NoError(t, err)
	tasks := New(Config{RoomWait: time.Millisecond, PullPause: time.Millisecond}, Deps{Node: m, Local: local})
	t.Cleanup(tasks.Close)
	c := &claimed{id: uuid.New(), blobs: bulk}
	return &session{job: &job{Tasks: tasks, Claim: c, sector: s, size: testSize}, claim: c, index: idx, at: local.Paths()[0]}
}

func (s *session) file(t api.FileType) string { return s.at.FilePath(s.sector.ID, t) }

func (s *session) made(t *testing.T, typ api.FileType) string {
	t.Helper()
	name, err := s.at.MadePath(s.sector.ID, typ)
	require.NoError(t, err)
	return name
}

// where lists the paths that the index has a file on.
func (s *session) where(t *testing.T, typ api.FileType) []api.StorageID {
	t.Helper()
	locs, err := s.index.StorageFindSector(t.Context(), s.sector.ID, typ)
	require.NoError(t, err)
	out := []api.StorageID{}
	for _, l := range locs {
		out = append(out, l.Storage)
	}
	return out
}

func newPathDir(t *testing.T) string { return newPath(t, "both", true, true) }

func newPath(t *testing.T, id string, seal, store bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id)
	require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: api.StorageID(id), Weight: 10, CanSeal: seal, CanStore: store}))
	return dir
}

func pc1(t *testing.T, s *session, b byte) porep.PreCommit1Out {
	t.Helper()
	out, err := s.layers(t.Context(), api.PreCommit1Params{Ticket: ticketOf(b)})
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

func modified(t *testing.T, dir, name string) int64 {
	t.Helper()
	st, err := os.Stat(filepath.Join(dir, name))
	require.NoError(t, err)
	return st.ModTime().UnixNano()
}

// contents are the files of a directory, by their hashes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	names, err := paths.CacheDir(dir).List()
	require.NoError(t, err)
	out := map[string]string{}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		out[n] = sumOf(b)
	}
	require.NotContains(t, strings.Join(names, " "), ".done")
	return out
}
