package retrieve

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"

	"quarry/markets/pieces"
)

func placesOf(t testing.TB, names ...string) []pieces.Location {
	out := []pieces.Location{}
	for _, n := range names {
		out = append(out, pieces.Location{Piece: pieceNamed(t, n)})
	}
	return out
}

// A piece that failed stands last for a minute, or until it works again.
func TestDemotionOfPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		abc := placesOf(t, "a", "b", "c")
		require.Equal(t, abc, w.order(abc))
		require.True(t, w.failed(abc[0].Piece), "news")
		require.False(t, w.failed(abc[0].Piece))
		require.Equal(t, placesOf(t, "b", "c", "a"), w.order(abc))
		require.Equal(t, placesOf(t, "a", "b", "c"), abc, "the caller's list is left alone")
		require.True(t, w.failed(abc[1].Piece))
		require.Equal(t, placesOf(t, "c", "a", "b"), w.order(abc))
		w.worked(abc[0].Piece)
		require.Equal(t, placesOf(t, "a", "c", "b"), w.order(abc))
		time.Sleep(demotion - 1)
		require.Equal(t, placesOf(t, "a", "c", "b"), w.order(abc))
		time.Sleep(1)
		require.Equal(t, abc, w.order(abc))
		require.True(t, w.failed(abc[1].Piece), "news again")
	})
}

func TestDemotionsAreBounded(t *testing.T) {
	var w watch
	for i := range maxWatched {
		w.failed(pieceNamed(t, fmt.Sprint(i)))
	}
	require.Len(t, w.bad, maxWatched)
	w.failed(pieceNamed(t, "one more"))
	require.Len(t, w.bad, 1)
}

// A read that outlives its time keeps others from its piece, and only from it,
// until it comes back.
func TestHungReadKeepsOthersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		a, b := pieceNamed(t, "a"), pieceNamed(t, "b")
		end1, err := w.begin(a, time.Second)
		require.NoError(t, err)
		end2, err := w.begin(a, time.Second)
		require.NoError(t, err)
		quick, err := w.begin(b, time.Second)
		require.NoError(t, err)
		quick()
		time.Sleep(time.Second - 1)
		end3, err := w.begin(a, time.Hour)
		require.NoError(t, err, "they have their time")
		time.Sleep(1)
		synctest.Wait()
		_, err = w.begin(a, time.Second)
		require.ErrorContains(t, err, "has not come back")
		end, err := w.begin(b, time.Second)
		require.NoError(t, err)
		end()
		end1()
		_, err = w.begin(a, time.Second)
		require.Error(t, err, "the other still hangs")
		end2()
		end, err = w.begin(a, time.Second)
		require.NoError(t, err)
		end()
		end3()
		require.Empty(t, w.stuck)
	})
}

// slowly is a source whose pieces take their time to open.
type slowly map[cid.Cid]time.Duration

func (s slowly) OpenPiece(ctx context.Context, c cid.Cid) (Payload, error) {
	select {
	case <-time.After(s[c]):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return nil, errors.New("it opens, and fails")
}

// A slow candidate does not keep the next one waiting for longer than patience,
// and all of them together not longer than the limit.
func TestSlowCandidatesAreTriedSideBySide(t *testing.T) {
	for name, tt := range map[string]struct {
		opens []time.Duration
		took  time.Duration
	}{
		"all fail at once": {[]time.Duration{0, 0, 0}, 0},
		"first is slow":    {[]time.Duration{3 * time.Second, 0, 0}, 3 * time.Second},
		"side by side":     {[]time.Duration{3 * time.Second, 3 * time.Second, 3 * time.Second}, 5 * time.Second},
		"within the limit": {[]time.Duration{time.Hour, time.Hour}, 8 * time.Second},
		"just within it":   {[]time.Duration{8*time.Second - 1}, 8*time.Second - 1},
		"more than have time": {[]time.Duration{9 * time.Second, 9 * time.Second, 9 * time.Second, 0, 0, 0, 0, 0, 0, 0, 0},
			8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := slowly{}
				blk := raw(t, "x")
				find := scanned{}
				for i, d := range tt.opens {
					c := pieceNamed(t, fmt.Sprint(i))
					src[c] = d
					find[string(blk.c.Hash())] = append(find[string(blk.c.Hash())], pieces.Location{Piece: c, Length: 1})
				}
				b := newBlockstore(find, src)
				began := time.Now()
				_, err := b.Get(t.Context(), blk.c)
				var away *unavailable
				require.ErrorAs(t, err, &away)
				require.Equal(t, tt.took, time.Since(began))
			})
		})
	}
}

type noFinder struct{}

func (noFinder) Find(context.Context, mh.Multihash) ([]pieces.Location, error) {
	return nil, errors.New("disk full at /secret")
}

// An index that cannot be read is no proof that a block is not here.
func TestIndexThatCannotBeReadIs503(t *testing.T) {
	s := newShop(t, Config{})
	s.srv.bs.find = noFinder{}
	resp, b, err := s.do("GET", "/ipfs/"+raw(t, "x").c.String()+"?format=raw")
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode)
	require.NotContains(t, string(b), "secret")
	_, err = s.srv.bs.Has(t.Context(), raw(t, "x").c)
	require.Error(t, err)
}

// Blocks larger than are served are not read.
func TestTooLargeABlockIsNotRead(t *testing.T) {
	blk := raw(t, "x")
	s := newShop(t, Config{})
	c := pieceNamed(t, "p")
	for opened, length := range []uint64{pieces.MaxBlock + 1, pieces.MaxBlock} {
		s.srv.bs.find = scanned{string(blk.c.Hash()): {{Piece: c, Length: length}}}
		_, err := s.srv.bs.Get(t.Context(), blk.c)
		require.Error(t, err)
		require.Equal(t, opened, s.shelf.opened(c))
	}
}

func TestBlockstoreIsReadOnly(t *testing.T) {
	s := newShop(t, Config{})
	b, blk := s.srv.bs, raw(t, "bytes")
	s.piece("p", carOf(t, blk))
	n, err := b.GetSize(t.Context(), blk.c)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	n, err = b.GetSize(t.Context(), raw(t, "none").c)
	require.Error(t, err)
	require.Equal(t, -1, n)
	for c, want := range map[cid.Cid]bool{
		blk.c:             true,
		raw(t, "none").c:  false,
		identityCID(2048): true,
		identityCID(2049): false,
	} {
		has, err := b.Has(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, want, has)
	}
	require.ErrorIs(t, b.Put(t.Context(), nil), errReadOnly)
	require.ErrorIs(t, b.PutMany(t.Context(), nil), errReadOnly)
	require.ErrorIs(t, b.DeleteBlock(t.Context(), blk.c), errReadOnly)
	_, err = b.AllKeysChan(t.Context())
	require.Error(t, err)
}

func identityCID(n int) cid.Cid {
	h, _ := mh.Sum(make([]byte, n), mh.IDENTITY, -1)
	return cid.NewCidV1(cid.Raw, h)
}
