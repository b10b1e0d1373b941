package tasks

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/storage/paths"
)

// stoppedPC1 leaves one whole layer of two, and gives the directory it is in.
func stoppedPC1(t *testing.T, s *session) string {
	t.Helper()
	made := s.made(t, api.FileCache)
	ctx := stopsAt{t.Context(), filepath.Join(made, "sc-02-data-layer-1.dat.done")}
	_, err := s.layers(ctx, api.PreCommit1Params{Ticket: ticketOf(7)})
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, isFile(made, "sc-02-data-layer-1.dat.done"), "the first layer is kept")
	_, published := s.local.Find(t.Context(), plain.ID, api.FileCache)
	require.False(t, published)
	return made
}

// TestStoppedPC1GoesOnBehindWholeLayers, but only for the same ticket.
func TestStoppedPC1GoesOnBehindWholeLayers(t *testing.T) {
	dir := newPathDir(t)
	made := stoppedPC1(t, newSession(t, plain, dir))
	written := modified(t, made, "sc-02-data-layer-1.dat")

	s := newSession(t, plain, dir)
	got := pc1(t, s, 7)
	require.False(t, isFile(made))
	require.False(t, isFile(made+ownerSuffix))
	cache := s.file(api.FileCache)
	require.Equal(t, written, modified(t, cache, "sc-02-data-layer-1.dat"), "the first layer was not computed again")
	require.False(t, isFile(cache, "sc-02-data-layer-1.dat.done"))

	fresh := newSession(t, plain, newPathDir(t))
	require.Equal(t, got, pc1(t, fresh, 7))
	require.Equal(t, contents(t, fresh.file(api.FileCache)), contents(t, cache))
}

func TestLayersOfAnotherTicketAreWiped(t *testing.T) {
	dir := newPathDir(t)
	s := newSession(t, plain, dir)
	made := stoppedPC1(t, s)
	require.NoError(t, os.WriteFile(filepath.Join(made, "stray"), nil, 0o600))
	pc1(t, s, 8)
	require.False(t, isFile(s.file(api.FileCache), "stray"))
}

// unreadable is unsealed data that fails in some way.
type unreadable struct{ err error }

func (u unreadable) ReadAt([]byte, int64) (int, error) { return 0, u.err }

// TestOnlyWrongDataDeletesAnAttempt: whatever else ends it, its files stay.
func TestOnlyWrongDataDeletesAnAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		gone bool
	}{
		"disk error":       {&os.PathError{Op: "read", Path: "x", Err: unix.EIO}, false},
		"no space":         {&os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}, false},
		"node away":        {&api.ErrUnreachable{Peer: "node"}, false},
		"node busy":        {&api.ErrBusy{What: "node"}, false},
		"lease lost":       {&api.ErrLeaseLost{What: "task"}, false},
		"file not there":   {&api.ErrNotFound{What: "unsealed"}, false},
		"stopped":          {context.Canceled, false},
		"anything":         {errors.New("anything"), false},
		"other data":       {porep.ErrPieces, true},
		"a damaged tree":   {merkle.ErrDamaged, true},
		"a wrong opening":  {merkle.ErrProof, true},
		"other piece":      {&api.ErrPieceMismatch{}, true},
		"wrong parameters": {&api.ErrInvalid{What: "x"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t, plain, newPathDir(t))
			h, err := s.layersHome(t.Context(), "input")
			require.NoError(t, err)
			defer h.release()
			_, err = s.layersOf(t.Context(), h, unreadable{c.err}, api.PreCommit1Params{Ticket: ticketOf(7)}, "input")
			require.ErrorIs(t, err, c.err)
			require.Equal(t, !c.gone, isFile(h.name, inputName))
			require.Equal(t, !c.gone, isFile(h.name+ownerSuffix))
		})
	}
}

// TestLostTaskLeavesItsFiles, whole and under their temporary names, and the next
// attempt takes them without computing anything.
func TestLostTaskLeavesItsFiles(t *testing.T) {
	dir := newPathDir(t)
	s := newSession(t, plain, dir)
	s.claim.lost = &api.ErrLeaseLost{What: "task"}
	_, err := s.layers(t.Context(), api.PreCommit1Params{Ticket: ticketOf(7)})
	require.ErrorIs(t, err, s.claim.lost)
	made := s.made(t, api.FileCache)
	require.True(t, isFile(made, outputName))
	require.Empty(t, s.where(t, api.FileCache))
	written := modified(t, made, "sc-02-data-layer-2.dat")

	s = newSession(t, plain, dir)
	out := pc1(t, s, 7)
	require.Equal(t, written, modified(t, s.file(api.FileCache), "sc-02-data-layer-2.dat"))
	require.Equal(t, []api.StorageID{"both"}, s.where(t, api.FileCache))

	s.claim.lost = &api.ErrLeaseLost{What: "task"}
	_, err = s.replica(t.Context(), out, s.at)
	require.ErrorIs(t, err, s.claim.lost)
	require.True(t, isFile(s.made(t, api.FileSealed)))
	require.Empty(t, s.where(t, api.FileSealed))
	written = modified(t, s.file(api.FileCache), "sc-02-data-tree-c.dat")

	s = newSession(t, plain, dir)
	_, err = s.replica(t.Context(), out, s.at)
	require.NoError(t, err)
	require.Equal(t, written, modified(t, s.file(api.FileCache), "sc-02-data-tree-c.dat"))
	require.Equal(t, []api.StorageID{"both"}, s.where(t, api.FileSealed))
	require.False(t, isFile(s.made(t, api.FileSealed)+ownerSuffix))
}

// TestPublishedWorkWhoseReportIsLostIsNotDoneAgain.
func TestPublishedWorkWhoseReportIsLostIsNotDoneAgain(t *testing.T) {
	dir := newPathDir(t)
	s := newSession(t, plain, dir)
	out := pc1(t, s, 7)
	layer := modified(t, s.file(api.FileCache), "sc-02-data-layer-2.dat")
	s = newSession(t, plain, dir)
	require.Equal(t, out, pc1(t, s, 7))
	require.Equal(t, layer, modified(t, s.file(api.FileCache), "sc-02-data-layer-2.dat"))

	com, err := s.replica(t.Context(), out, s.at)
	require.NoError(t, err)
	require.False(t, isFile(s.file(api.FileCache), inputName))
	require.False(t, isFile(s.file(api.FileCache), outputName))
	tree, sealed := modified(t, s.file(api.FileCache), "sc-02-data-tree-c.dat"), modified(t, filepath.Dir(s.file(api.FileSealed)),
		filepath.Base(s.file(api.FileSealed)))
	s = newSession(t, plain, dir)
	again, err := s.replica(t.Context(), out, s.at)
	require.NoError(t, err)
	require.Equal(t, com, again)
	require.Equal(t, tree, modified(t, s.file(api.FileCache), "sc-02-data-tree-c.dat"))
	require.Equal(t, sealed, modified(t, filepath.Dir(s.file(api.FileSealed)), filepath.Base(s.file(api.FileSealed))))

	// A replica that was damaged meanwhile is made again, not believed.
	require.NoError(t, os.WriteFile(s.file(api.FileSealed), make([]byte, testSize), 0o600))
	again, err = s.replica(t.Context(), out, s.at)
	require.NoError(t, err)
	require.Equal(t, com, again)
	require.NoError(t, s.proveForm(t.Context(), s.at, asSealed, com.SealedCID()))
}

// TestWholeLayersAreLookedAt: a record alone proves nothing.
func TestWholeLayersAreLookedAt(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"a layer is short": func(dir string) error {
			return os.Truncate(filepath.Join(dir, "sc-02-data-layer-2.dat"), int64(testSize)-1)
		},
		"a layer is gone": func(dir string) error { return os.Remove(filepath.Join(dir, "sc-02-data-layer-1.dat")) },
		"tree-d is gone":  func(dir string) error { return os.Remove(filepath.Join(dir, "sc-02-data-tree-d.dat")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t, plain, newPathDir(t))
			out := pc1(t, s, 7)
			input, err := s.layersInput(api.PreCommit1Params{Ticket: ticketOf(7)})
			require.NoError(t, err)
			var got porep.PreCommit1Out
			require.True(t, s.wholeLayers(s.file(api.FileCache), input, &got))
			require.Equal(t, out, got)
			require.False(t, s.wholeLayers(s.file(api.FileCache), input+"x", &got))
			require.NoError(t, spoil(s.file(api.FileCache)))
			require.False(t, s.wholeLayers(s.file(api.FileCache), input, &got))
			require.Equal(t, out, pc1(t, s, 7))
			require.True(t, s.wholeLayers(s.file(api.FileCache), input, &got))
		})
	}
}

// TestStoppedPC2GoesOn behind tree-c, whatever is in the replica by then; nothing
// is declared before it is done.
func TestStoppedPC2GoesOn(t *testing.T) {
	want, wantFiles, wantSealed := sealedWithoutStop(t)
	for name, torn := range map[string][]byte{"as left": nil, "torn": bytes.Repeat([]byte{0xff}, 100), "too long": make([]byte, 5000)} {
		t.Run(name, func(t *testing.T) {
			dir := newPathDir(t)
			s := newSession(t, plain, dir)
			out := pc1(t, s, 7)
			cache := s.file(api.FileCache)
			mark := filepath.Join(cache, "sc-02-data-tree-c.dat.done")
			made := s.made(t, api.FileSealed)
			_, err := s.replicate(stopsAt{t.Context(), mark}, out, paths.CacheDir(cache), made)
			require.ErrorIs(t, err, context.Canceled)
			require.True(t, isFile(mark))
			_, found := s.local.Find(t.Context(), plain.ID, api.FileSealed)
			require.False(t, found, "a replica that is not whole was published")
			require.True(t, isFile(made))
			if torn != nil {
				require.NoError(t, os.WriteFile(made, torn, 0o600))
			}
			treeC := modified(t, cache, "sc-02-data-tree-c.dat")

			s = newSession(t, plain, dir)
			com, err := s.replica(t.Context(), out, s.at)
			require.NoError(t, err)
			require.Equal(t, want, com)
			require.Equal(t, treeC, modified(t, cache, "sc-02-data-tree-c.dat"), "tree-c was built again")
			require.Equal(t, wantFiles, contents(t, cache))
			raw, err := os.ReadFile(s.file(api.FileSealed))
			require.NoError(t, err)
			require.Equal(t, wantSealed, raw)
			require.False(t, isFile(made))
		})
	}
}

func sealedWithoutStop(t *testing.T) (com porep.Commitments, cache map[string]string, sealed []byte) {
	t.Helper()
	s := newSession(t, plain, newPathDir(t))
	com, err := s.replica(t.Context(), pc1(t, s, 7), s.at)
	require.NoError(t, err)
	sealed, err = os.ReadFile(s.file(api.FileSealed))
	require.NoError(t, err)
	return com, contents(t, s.file(api.FileCache)), sealed
}
