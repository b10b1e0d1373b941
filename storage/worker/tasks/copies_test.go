package tasks

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/commp"
)

// sealedSession is a sealed sector with data on a path for work, and an empty
// path for keeping beside it.
func sealedSession(t *testing.T) (*session, cid.Cid) {
	t.Helper()
	s := newSession(t, plain, newPath(t, "a-work", true, false), newPath(t, "b-keep", false, true))
	piece := abi.PieceInfo{PieceCID: commp.ZeroPiece(1024), Size: 1024}
	_, err := s.addPiece(t.Context(), api.AddPieceParams{Piece: piece})
	require.NoError(t, err)
	com, err := s.replica(t.Context(), pc1(t, s, 7), s.at)
	require.NoError(t, err)
	return s, com.SealedCID()
}

func (s *session) other(t *testing.T, typ api.FileType) string {
	t.Helper()
	return s.local.Paths()[1].FilePath(s.sector.ID, typ)
}

// copied puts a copy of a file on the second path and declares it.
func (s *session) copied(t *testing.T, typ api.FileType) {
	t.Helper()
	require.NoError(t, os.RemoveAll(s.other(t, typ)))
	require.NoError(t, s.copyTree(t.Context(), s.file(typ), s.other(t, typ)))
	require.NoError(t, s.declare(t.Context(), s.local.Paths()[1], typ, false))
}

// damages are the ways in which a kept copy can be unable to stand alone; file
// gives the name of one kind of file of it.
var damages = map[string]struct {
	of    api.FileType // whose other copies must stay
	spoil func(file func(api.FileType) string) error
}{
	"replica cut short": {api.FileSealed, func(f func(api.FileType) string) error {
		return os.Truncate(f(api.FileSealed),
			int64(testSize)-32)
	}},
	"replica of zeros": {api.FileSealed, func(f func(api.FileType) string) error {
		return os.WriteFile(f(api.FileSealed), make([]byte, testSize), 0o600)
	}},
	"p_aux gone": {api.FileCache, func(f func(api.FileType) string) error { return os.Remove(f(api.FileCache) + "/p_aux") }},
	"p_aux of another": {api.FileCache, func(f func(api.FileType) string) error {
		return os.WriteFile(f(api.FileCache)+"/p_aux", bytes.Repeat([]byte{1}, 64), 0o600)
	}},
	"t_aux gone":  {api.FileCache, func(f func(api.FileType) string) error { return os.Remove(f(api.FileCache) + "/t_aux") }},
	"t_aux empty": {api.FileCache, func(f func(api.FileType) string) error { return os.Truncate(f(api.FileCache)+"/t_aux", 0) }},
	"tree-r-last gone": {api.FileCache, func(f func(api.FileType) string) error {
		return os.Remove(f(api.FileCache) + "/sc-02-data-tree-r-last.dat")
	}},
	"tree-r-last cut": {api.FileCache, func(f func(api.FileType) string) error {
		return os.Truncate(f(api.FileCache)+"/sc-02-data-tree-r-last.dat", 33)
	}},
	"tree-r-last zeroed": {api.FileCache, zeroed("sc-02-data-tree-r-last.dat")},
}

func zeroed(name string) func(func(api.FileType) string) error {
	return func(f func(api.FileType) string) error {
		name := filepath.Join(f(api.FileCache), name)
		st, err := os.Stat(name)
		if err != nil {
			return err
		}
		return os.WriteFile(name, make([]byte, st.Size()), 0o600)
	}
}

// TestLastOtherCopyStaysUnlessTheKeptOneIsProven.
func TestLastOtherCopyStaysUnlessTheKeptOneIsProven(t *testing.T) {
	for name, c := range damages {
		t.Run(name, func(t *testing.T) {
			s, commR := sealedSession(t)
			require.NoError(t, s.proveForm(t.Context(), s.at, asSealed, commR))
			require.NoError(t, s.proveForm(t.Context(), s.at, asSealed, cid.Undef))
			s.copied(t, c.of)
			before := contentsOf(t, s.other(t, c.of))
			require.NoError(t, c.spoil(s.file))
			err := s.deleteOtherCopies(t.Context(), s.at, c.of,
				func(ctx context.Context) error { return s.proveForm(ctx, s.at, asSealed, cid.Undef) })
			require.ErrorContains(t, err, "cannot stand alone, so no other copy is deleted")
			require.Equal(t, before, contentsOf(t, s.other(t, c.of)))
			require.ElementsMatch(t, []api.StorageID{"a-work", "b-keep"}, s.where(t, c.of))
		})
	}
}

// contentsOf reads a file, or the files of a directory.
func contentsOf(t *testing.T, name string) any {
	t.Helper()
	st, err := os.Stat(name)
	require.NoError(t, err)
	if st.IsDir() {
		return contents(t, name)
	}
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return sumOf(b)
}

// TestOtherCopiesGo when the kept one is proven and the claim confirmed.
func TestOtherCopiesGo(t *testing.T) {
	s, commR := sealedSession(t)
	for _, typ := range []api.FileType{api.FileSealed, api.FileCache} {
		s.copied(t, typ)
		proved := 0
		proven := func(ctx context.Context) error {
			proved++
			return s.proveForm(ctx, s.at, asSealed, commR)
		}
		s.claim.lost = &api.ErrLeaseLost{What: "task"}
		require.ErrorIs(t, s.deleteOtherCopies(t.Context(), s.at, typ, proven), s.claim.lost)
		require.True(t, exists(s.other(t, typ)))
		s.claim.lost = nil
		require.NoError(t, s.deleteOtherCopies(t.Context(), s.at, typ, proven))
		require.False(t, exists(s.other(t, typ)))
		require.True(t, exists(s.file(typ)))
		require.Equal(t, []api.StorageID{"a-work"}, s.where(t, typ))
		require.Equal(t, 2, proved)
		require.NoError(t, s.deleteOtherCopies(t.Context(), s.at, typ, proven))
		require.Equal(t, 2, proved, "with no other copy nothing is asked")
	}
	// One that lies here and was never declared is a copy too.
	require.NoError(t, s.copyTree(t.Context(), s.file(api.FileSealed), s.other(t, api.FileSealed)))
	require.NoError(t, s.deleteOtherCopies(t.Context(), s.at, api.FileSealed, func(context.Context) error { return nil }))
	require.False(t, exists(s.other(t, api.FileSealed)))
}

// TestCommRIsCompared where it is known.
func TestCommRIsCompared(t *testing.T) {
	s, commR := sealedSession(t)
	other := newSession(t, plain, newPathDir(t))
	com, err := other.replica(t.Context(), pc1(t, other, 9), other.at)
	require.NoError(t, err)
	require.NotEqual(t, commR, com.SealedCID())
	require.Error(t, s.proveForm(t.Context(), s.at, asSealed, com.SealedCID()))
}

// TestFinalizeProvesBeforeItDeletes: with a damaged move every original stays.
func TestFinalizeMovesAndProves(t *testing.T) {
	s, commR := sealedSession(t)
	s.claim.lost = &api.ErrLeaseLost{What: "task"}
	layer := filepath.Join(s.file(api.FileCache), "sc-02-data-layer-1.dat")
	require.ErrorIs(t, final(t, s), s.claim.lost)
	require.True(t, isFile(layer), "nothing is cleared under a claim that is lost")
	s.claim.lost = nil
	require.NoError(t, final(t, s))
	require.False(t, isFile(layer))
	for _, typ := range []api.FileType{api.FileSealed, api.FileCache} {
		require.Equal(t, []api.StorageID{"b-keep"}, s.where(t, typ))
		require.False(t, exists(s.file(typ)))
		require.False(t, exists(s.made(t, typ)+ownerSuffix))
	}
	require.Empty(t, s.where(t, api.FileUnsealed))
	keep := s.local.Paths()[1]
	require.NoError(t, s.proveForm(t.Context(), keep, asSealed, commR))
	require.NoError(t, final(t, s), "it may be repeated")
	for _, name := range []string{inputName, outputName, sealedName} {
		require.False(t, isFile(s.other(t, api.FileCache), name))
	}
}

// TestUnsealedStaysWithoutAProvenReplica: it is the only source then.
func TestUnsealedStaysWithoutAProvenReplica(t *testing.T) {
	s, _ := sealedSession(t)
	require.NoError(t, final2(t, s, true))
	require.Equal(t, []api.StorageID{"b-keep"}, s.where(t, api.FileUnsealed))
	require.NoError(t, os.WriteFile(s.other(t, api.FileSealed), make([]byte, testSize), 0o600))
	require.ErrorContains(t, final2(t, s, false), "the unsealed copy stays")
	require.Equal(t, []api.StorageID{"b-keep"}, s.where(t, api.FileUnsealed))
	require.True(t, exists(s.other(t, api.FileUnsealed)))
}

func final2(t *testing.T, s *session, keepUnsealed bool) error {
	t.Helper()
	_, err := s.finalize(t.Context(), api.FinalizeParams{KeepUnsealed: keepUnsealed})
	return err
}

// TestUnsealedCopies: ranges and readability are looked at, to the byte.
func TestUnsealedCopies(t *testing.T) {
	s, _ := sealedSession(t)
	first, second := span{0, 1024}, span{1024, 1024}
	require.NoError(t, s.proveUnsealed(s.at, first))
	var gone *api.ErrNotFound
	require.ErrorAs(t, s.proveUnsealed(s.at, first, second), &gone)
	require.Error(t, s.proveUnsealed(s.at, span{off: 2048, size: 1024}))
	s.copied(t, api.FileUnsealed)
	keep := s.local.Paths()[1]
	require.NoError(t, s.sameRanges(s.at, keep))
	require.NoError(t, s.sameRanges(s.at, s.at))

	piece := abi.PieceInfo{PieceCID: commp.ZeroPiece(1024), Size: 1024}
	_, err := s.addPiece(t.Context(), api.AddPieceParams{Existing: []abi.PieceInfo{piece}, Piece: piece})
	require.NoError(t, err)
	require.False(t, exists(s.other(t, api.FileUnsealed)), "the one without the new piece is stale")
	require.NoError(t, s.proveUnsealed(s.at, first, second))
	require.NoError(t, s.copyTree(t.Context(), s.file(api.FileUnsealed), s.other(t, api.FileUnsealed)))
	require.NoError(t, os.Truncate(s.other(t, api.FileUnsealed), int64(testSize)/2))
	require.Error(t, s.sameRanges(s.at, keep))
	require.NoError(t, os.Remove(s.other(t, api.FileUnsealed)))
	require.Error(t, s.sameRanges(s.at, keep))
}
