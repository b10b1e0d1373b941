package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/storage/fetch"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
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
				at, release, err := s.room(ctx, "cache", need, true)
				require.Equal(t, c.want, time.Since(start))
				switch {
				case c.stopped > 0:
					require.ErrorIs(t, err, context.Canceled)
				case c.err != nil:
					require.ErrorAs(t, err, c.err)
				default:
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
		require.NoError(t, s.index.StorageDeclareSectors(t.Context(), []api.SectorFile{{Sector: plain.ID, Type: api.FileCache, Storage: id}}))
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

// pieceServer serves n bytes and counts how often.
func pieceServer(t *testing.T, n int, padded abi.PaddedPieceSize) (api.AddPieceParams, *atomic.Int32) {
	t.Helper()
	data := bytes.Repeat([]byte{5}, n)
	sum, err := commp.SumPadded(t.Context(), bytes.NewReader(data), padded)
	require.NoError(t, err)
	asked := new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(srv.Close)
	return api.AddPieceParams{
		Piece: abi.PieceInfo{PieceCID: sum.CID, Size: padded},
		Data:  api.DataRef{URL: srv.URL, Size: uint64(n)},
	}, asked
}

// TestPulledPieceIsNotPulledAgain when only publishing it is left; another piece
// in its place is.
func TestPulledPieceIsNotPulledAgain(t *testing.T) {
	dir := newPathDir(t)
	s := newSession(t, plain, dir)
	a, asked := pieceServer(t, 1000, 1024)
	s.claim.lost = &api.ErrLeaseLost{What: "task"}
	_, err := s.addPiece(t.Context(), a)
	require.ErrorIs(t, err, s.claim.lost)
	made := s.made(t, api.FileUnsealed)
	require.True(t, isFile(made))
	require.False(t, exists(s.file(api.FileUnsealed)), "nothing is there that holds nothing")
	require.Equal(t, int32(1), asked.Load())

	s = newSession(t, plain, dir)
	_, err = s.addPiece(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, int32(1), asked.Load())
	require.NoError(t, s.proveUnsealed(s.at, span{0, 1024}))
	for _, name := range []string{made, made + ownerSuffix, made + inputSuffix} {
		require.False(t, isFile(name), name)
	}

	other, askedOther := pieceServer(t, 900, 1024)
	dir = newPathDir(t)
	s = newSession(t, plain, dir)
	s.claim.lost = &api.ErrLeaseLost{What: "task"}
	_, err = s.addPiece(t.Context(), a)
	require.Error(t, err)
	s = newSession(t, plain, dir)
	_, err = s.addPiece(t.Context(), other)
	require.NoError(t, err)
	require.Equal(t, int32(1), askedOther.Load())
}

// TestWrongPieceLeavesNothing, and a lost claim marks nothing in a file that is
// in use.
func TestWrongPieceLeavesNothing(t *testing.T) {
	s := newSession(t, plain, newPathDir(t))
	a, _ := pieceServer(t, 1000, 1024)
	wrong := a
	wrong.Piece.PieceCID = commp.ZeroPiece(1024)
	_, err := s.addPiece(t.Context(), wrong)
	require.ErrorAs(t, err, new(*api.ErrPieceMismatch))
	made := s.made(t, api.FileUnsealed)
	for _, name := range []string{made, made + ownerSuffix, made + inputSuffix, s.file(api.FileUnsealed)} {
		require.False(t, isFile(name), name)
	}
	_, err = s.addPiece(t.Context(), a)
	require.NoError(t, err)
	next := a
	next.Existing = []abi.PieceInfo{a.Piece}
	s.claim.lost = &api.ErrLeaseLost{What: "task"}
	_, err = s.addPiece(t.Context(), next)
	require.ErrorIs(t, err, s.claim.lost)
	require.Error(t, s.proveUnsealed(s.at, span{1024, 1024}))
	require.NoError(t, s.proveUnsealed(s.at, span{0, 1024}))
	s.claim.lost = nil
	_, err = s.addPiece(t.Context(), next)
	require.NoError(t, err)
	require.NoError(t, s.proveUnsealed(s.at, span{1024, 1024}))
}

// TestPiecesThatDoNotFit, to the byte.
func TestPiecesThatDoNotFit(t *testing.T) {
	s := newSession(t, plain, newPathDir(t))
	a, _ := pieceServer(t, 1016, 1024)
	_, err := s.addPiece(t.Context(), a)
	require.NoError(t, err, "a full piece fits")
	for name, spoil := range map[string]func(*api.AddPieceParams){
		"payload":  func(a *api.AddPieceParams) { a.Data.Size = 1017 },
		"odd":      func(a *api.AddPieceParams) { a.Piece.Size = 1000 },
		"existing": func(a *api.AddPieceParams) { a.Existing = []abi.PieceInfo{{Size: 1000}} },
		"third":    func(a *api.AddPieceParams) { a.Existing = []abi.PieceInfo{a.Piece, a.Piece} },
	} {
		b := a
		spoil(&b)
		_, err := s.addPiece(t.Context(), b)
		require.ErrorAs(t, err, new(*api.ErrInvalid), name)
	}
	spans, next, err := layout([]abi.PieceInfo{{Size: 128}, {Size: 512}}, 256)
	require.NoError(t, err)
	require.Equal(t, []span{{0, 128}, {512, 512}}, spans)
	require.Equal(t, abi.PaddedPieceSize(1024), next)
}

// TestUnsealing brings ranges back; other copies go only when this one is whole,
// as they may have what it lacks.
func TestUnsealing(t *testing.T) {
	s := newSession(t, plain, newPath(t, "a-work", true, false), newPath(t, "b-keep", false, true))
	a, _ := pieceServer(t, 1000, 1024)
	_, err := s.addPiece(t.Context(), a)
	require.NoError(t, err)
	filler := abi.PieceInfo{PieceCID: commp.ZeroPiece(1024), Size: 1024}
	_, err = s.addPiece(t.Context(), api.AddPieceParams{Existing: []abi.PieceInfo{a.Piece}, Piece: filler})
	require.NoError(t, err)
	whole, err := os.ReadFile(s.file(api.FileUnsealed))
	require.NoError(t, err)
	out, err := s.layers(t.Context(), api.PreCommit1Params{Ticket: ticketOf(7), Pieces: []abi.PieceInfo{a.Piece, filler}})
	require.NoError(t, err)
	com, err := s.replica(t.Context(), out, s.at)
	require.NoError(t, err)

	// Without its data the second phase must not take zeros for it.
	require.NoError(t, s.deleteEverywhere(t.Context(), api.FileUnsealed))
	_, err = s.sealedData(t.Context(), out)
	require.ErrorAs(t, err, new(*api.ErrNotFound))

	uns := func(off, size abi.PaddedPieceSize) error {
		_, err := s.unseal(t.Context(), api.UnsealParams{Ticket: ticketOf(7), UnsealedCID: api.CidString(com.UnsealedCID().String()), Offset: off, Size: size})
		return err
	}
	for _, bad := range []span{{0, 0}, {0, 2049}, {2048, 1}, {2049, 0}} {
		require.ErrorAs(t, uns(bad.off, bad.size), new(*api.ErrInvalid), "%v", bad)
	}
	require.NoError(t, uns(0, 1024))
	require.NoError(t, s.copyTree(t.Context(), s.file(api.FileUnsealed), s.other(t, api.FileUnsealed)))
	require.NoError(t, s.declare(t.Context(), s.local.Paths()[1], api.FileUnsealed, false))
	f, err := unsealed.Open(s.file(api.FileUnsealed), testSize)
	require.NoError(t, err)
	has, err := f.Has(1024, 1024)
	require.NoError(t, errors.Join(err, f.Close()))
	require.False(t, has)
	require.NoError(t, uns(512, 256), "there already")
	require.True(t, exists(s.other(t, api.FileUnsealed)), "this one is not whole")
	require.NoError(t, uns(1024, 1024))
	require.False(t, exists(s.other(t, api.FileUnsealed)))
	got, err := os.ReadFile(s.file(api.FileUnsealed))
	require.NoError(t, err)
	require.Equal(t, whole[:testSize], got[:testSize])
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
