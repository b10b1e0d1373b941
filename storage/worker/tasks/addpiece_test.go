package tasks

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/storage/unsealed"
)

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
		_, err := s.unseal(t.Context(), api.UnsealParams{Ticket: ticketOf(7),
			UnsealedCID: api.CidString(com.UnsealedCID().String()), Offset: off, Size: size})
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
