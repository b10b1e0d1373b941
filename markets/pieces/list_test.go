package pieces

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// counted is a datastore that counts what is read from it.
type counted struct {
	datastore.Batching
	gets, queries atomic.Int64
}

func (c *counted) Get(ctx context.Context, k datastore.Key) ([]byte, error) {
	c.gets.Add(1)
	return c.Batching.Get(ctx, k)
}

func (c *counted) Query(ctx context.Context, q query.Query) (query.Results, error) {
	c.queries.Add(1)
	return c.Batching.Query(ctx, q)
}

func somePiece(t testing.TB, n int) cid.Cid {
	t.Helper()
	c, err := commcid.DataCommitmentV1ToCID(fmt.Appendf(nil, "%032d", n))
	require.NoError(t, err)
	return c
}

// storeOf is a store of n pieces that was just opened.
func storeOf(t testing.TB, n int) (*Store, *counted) {
	t.Helper()
	ds := &counted{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	s := NewStore(ds)
	for i := range n {
		require.NoError(t, s.Update(t.Context(), somePiece(t, i), func(*api.PieceRecord) {}))
	}
	ds.gets.Store(0)
	return NewStore(ds), ds
}

func walk(t testing.TB, s *Store, limit int) (pieces []cid.Cid, pages int) {
	t.Helper()
	for cursor := ""; ; {
		recs, next, err := s.List(t.Context(), cursor, limit)
		require.NoError(t, err)
		pages++
		for _, r := range recs {
			pieces = append(pieces, r.PieceCID)
		}
		if cursor = next; cursor == "" {
			return pieces, pages
		}
	}
}

// A walk reads each piece once and looks for the keys once, however long the list
// is; pieces that come meanwhile are on it.
func TestPageReadsItsOwnPiecesOnly(t *testing.T) {
	for _, n := range []int{0, 99, 100, 101, 2000} {
		s, ds := storeOf(t, n)
		got, pages := walk(t, s, 100)
		require.Len(t, got, n)
		require.Equal(t, max(1, (n+99)/100), pages)
		require.EqualValues(t, n, ds.gets.Load())
		for i := 1; i < len(got); i++ {
			require.Less(t, got[i-1].String(), got[i].String())
		}
		for range 2 { // a change makes no second entry
			require.NoError(t, s.Update(t.Context(), somePiece(t, n), func(*api.PieceRecord) {}))
		}
		got, _ = walk(t, s, 7)
		require.Len(t, got, n+1)
		require.Contains(t, got, somePiece(t, n))
		require.EqualValues(t, 1, ds.queries.Load())
	}
}

// A record that cannot be read hides no other.
func TestPieceThatCannotBeReadIsListed(t *testing.T) {
	s, ds := storeOf(t, 3)
	bad := somePiece(t, 1)
	require.NoError(t, ds.Put(t.Context(), pieceKey(bad), []byte("{")))
	recs, _, err := s.List(t.Context(), "", 10)
	require.NoError(t, err)
	require.Len(t, recs, 3)
	for _, r := range recs {
		if r.PieceCID == bad {
			require.Contains(t, r.IndexErr, "decode record of piece "+bad.String())
			require.Equal(t, -1, r.Blocks)
		} else {
			require.Empty(t, r.IndexErr)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = s.List(ctx, "", 10)
	require.ErrorIs(t, err, context.Canceled)
}

// A cursor that names no piece of the store begins behind where it would be.
func TestPiecesBehindACursor(t *testing.T) {
	s, _ := storeOf(t, 5)
	all, _ := walk(t, s, 10)
	for i, c := range all {
		recs, _, err := s.List(t.Context(), c.String(), 10)
		require.NoError(t, err)
		require.Len(t, recs, 4-i)
	}
	recs, _, err := s.List(t.Context(), all[1].String()+"x", 10)
	require.NoError(t, err)
	require.Len(t, recs, 3)
}
