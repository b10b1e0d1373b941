package pieces

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	mh "github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// Of a CID that comes several times the place with the right bytes is kept,
// whichever comes first.
func TestRepeatedCID(t *testing.T) {
	c := hashed(t, mh.SHA2_256, "right")
	for name, tt := range map[string]struct {
		order []string
		keep  int
		count int
	}{
		"wrong second": {[]string{"right", "wrong"}, 0, 1},
		"wrong first":  {[]string{"wrong", "right"}, 1, 1},
		"both right":   {[]string{"right", "right"}, 0, 2},
		"only wrong":   {[]string{"wrong", "false"}, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCAR(t)
			var at []uint64
			for _, data := range tt.order {
				at = append(at, s.block(c, data))
			}
			rec, store := indexed(t, s.Bytes())
			require.Equal(t, tt.count, rec.Blocks)
			locs, err := store.Find(t.Context(), c.Hash())
			require.NoError(t, err)
			if tt.keep < 0 {
				require.Empty(t, locs)
				return
			}
			require.Equal(t, []Location{{Piece: aPiece, Offset: at[tt.keep], Length: 5}}, locs)
		})
	}
}

// Indexing again takes out what is no longer right, and nothing else.
func TestIndexingAgainMends(t *testing.T) {
	a, b := hashed(t, mh.SHA2_256, "aaaaa"), hashed(t, mh.SHA2_256, "bbbbb")
	s := newCAR(t)
	at := s.block(a, "aaaaa")
	s.block(b, "bbbbb")
	good := bytes.Clone(s.Bytes())
	bad := bytes.Clone(good)
	bad[at] = 'x'
	store := newStore()
	index := func(payload []byte) api.PieceRecord {
		require.NoError(t, store.Index(t.Context(), aPiece, bytes.NewReader(payload), uint64(len(payload))))
		rec, err := store.Get(t.Context(), aPiece)
		require.NoError(t, err)
		return rec
	}
	places := func(c cid.Cid) int {
		locs, err := store.Find(t.Context(), c.Hash())
		require.NoError(t, err)
		return len(locs)
	}
	require.Equal(t, 2, index(good).Blocks)
	require.Equal(t, 1, index(bad).Blocks)
	require.Equal(t, 0, places(a))
	require.Equal(t, 1, places(b))
	lied, err := store.ds.Has(t.Context(), liedKey(aPiece))
	require.NoError(t, err)
	require.True(t, lied)
	require.Equal(t, 2, index(good).Blocks)
	require.Equal(t, 1, places(a))
	lied, err = store.ds.Has(t.Context(), liedKey(aPiece))
	require.NoError(t, err)
	require.False(t, lied)
}

// failing is a disk that breaks at a byte.
type failing struct {
	io.ReaderAt
	at  int64
	err error
}

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.at {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, off)
}

// A disk that cannot be read is no fault of the CAR: nothing is recorded, and the
// step is tried again.
func TestReadErrorIsNotTheCARsFault(t *testing.T) {
	v1, _ := makeCAR(t, 3, 1000)
	broken := errors.New("input/output error")
	for _, at := range []int64{0, 10, 100, 5000} {
		s := newStore()
		err := s.Index(t.Context(), aPiece, failing{bytes.NewReader(v1), at, broken}, uint64(len(v1)))
		require.ErrorIs(t, err, broken, "at %d", at)
		_, err = s.Get(t.Context(), aPiece)
		require.ErrorContains(t, err, "not found")
	}
	s := newStore()
	err := s.Index(t.Context(), aPiece, bytes.NewReader(v1[:len(v1)-3]), uint64(len(v1)))
	require.ErrorIs(t, err, io.EOF, "the file is shorter than was said")
}

func TestIndexStopsWithContext(t *testing.T) {
	v1, _ := makeCAR(t, 300, 10)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := ScanCAR(ctx, bytes.NewReader(v1), uint64(len(v1)), func(Block) error {
		n++
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, n)
	zeros := append(bytes.Clone(v1), make([]byte, 10<<20)...)
	ctx, cancel = context.WithCancel(t.Context())
	n = 0
	err = ScanCAR(ctx, bytes.NewReader(zeros), uint64(len(zeros)), func(Block) error {
		if n++; n == 300 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled, "in the padding")
	stop := errors.New("stop")
	require.ErrorIs(t, ScanCAR(t.Context(), bytes.NewReader(v1), uint64(len(v1)), func(Block) error { return stop }), stop)
}

// The text of a record is bounded whatever a stranger writes.
func TestKindsOfTroubleAreBounded(t *testing.T) {
	s := newCAR(t)
	for i := range 100 {
		h, err := mh.Encode(make([]byte, 20), 0x300b00+uint64(i))
		require.NoError(t, err)
		s.block(cid.NewCidV1(cid.Raw, h), "a")
	}
	rec, _ := indexed(t, s.Bytes())
	require.Contains(t, rec.IndexErr, "other trouble, 92 times")
	require.Equal(t, maxKinds, strings.Count(rec.IndexErr, ";"))
}

func TestServedHashes(t *testing.T) {
	truncated, err := mh.Sum([]byte("a"), mh.SHA2_256, 19)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		c  cid.Cid
		ok bool
	}{
		"sha2-256":        {hashed(t, mh.SHA2_256, "a"), true},
		"sha2-256 of 19":  {cid.NewCidV1(cid.Raw, truncated), false},
		"blake2b-256":     {hashed(t, mh.BLAKE2B_MIN+31, "a"), true},
		"blake2b-152":     {hashed(t, mh.BLAKE2B_MIN+18, "a"), false},
		"blake3":          {hashed(t, mh.BLAKE3, "a"), true},
		"md5":             {hashed(t, mh.MD5, "a"), false},
		"shake-128":       {hashed(t, mh.SHAKE_128, "a"), false},
		"murmur":          {hashed(t, mh.MURMUR3X64_64, "a"), false},
		"unknown":         {cid.NewCidV1(cid.Raw, unknownHash(t)), false},
		"identity":        {identityOf(t, 2048), true},
		"identity + 1":    {identityOf(t, 2049), false},
		"identity, empty": {identityOf(t, 0), true},
	} {
		t.Run(name, func(t *testing.T) {
			err := Served(tt.c)
			require.Equal(t, tt.ok, err == nil, "%v", err)
			if err != nil {
				require.ErrorContains(t, err, "is not served")
			}
		})
	}
	require.True(t, Matches(hashed(t, mh.SHA2_256, "a"), []byte("a")))
	require.False(t, Matches(hashed(t, mh.SHA2_256, "a"), []byte("b")))
	require.False(t, Matches(cid.NewCidV1(cid.Raw, unknownHash(t)), []byte("a")))
	require.True(t, Matches(cid.NewCidV1(cid.Raw, truncated), []byte("a")))
}

// All pieces that hold a block are candidates, however many; those that lied come
// last.
func TestEveryPieceIsACandidateAndLiarsComeLast(t *testing.T) {
	ctx, s := t.Context(), newStore()
	car := newCAR(t)
	c := hashed(t, mh.SHA2_256, "shared")
	at := car.block(c, "shared")
	const n = 40
	for i := range n {
		require.NoError(t, s.Index(ctx, builderCid(t, fmt.Sprint(i)), bytes.NewReader(car.Bytes()), uint64(car.Len())))
	}
	locs, err := s.Find(ctx, c.Hash())
	require.NoError(t, err)
	require.Len(t, locs, n)
	first, second := locs[0], locs[1]

	require.NoError(t, s.Lied(ctx, c.Hash(), Location{Piece: first.Piece, Offset: at + 1, Length: 6}), "a place it does not have")
	require.NoError(t, s.Lied(ctx, c.Hash(), second))
	require.NoError(t, s.Lied(ctx, c.Hash(), second), "said twice")
	locs, err = s.Find(ctx, c.Hash())
	require.NoError(t, err)
	require.Len(t, locs, n-1)
	require.Equal(t, first, locs[n-2])
	require.NotContains(t, locs, second)
	rec, err := s.Get(ctx, first.Piece)
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, []int{rec.Blocks, rec.Wrong})
	rec, err = s.Get(ctx, second.Piece)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, []int{rec.Blocks, rec.Wrong})

	require.NoError(t, s.Index(ctx, second.Piece, bytes.NewReader(car.Bytes()), uint64(car.Len())))
	rec, err = s.Get(ctx, second.Piece)
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, []int{rec.Blocks, rec.Wrong}, "indexing again mends it")
}

func TestUnreadableIndexEntriesArePassedOver(t *testing.T) {
	s := newStore()
	h := hashed(t, mh.SHA2_256, "x").Hash()
	for _, v := range [][]byte{nil, {0x80}, {1}, {1, 0x80}} {
		require.NoError(t, s.ds.Put(t.Context(), entryKey(h, aPiece.String()), v))
		locs, err := s.Find(t.Context(), h)
		require.NoError(t, err)
		require.Empty(t, locs)
	}
	require.NoError(t, s.ds.Put(t.Context(), datastore.NewKey(blockPrefix(h)+"/nonsense"), encodePlace(1, 2)))
	locs, err := s.Find(t.Context(), h)
	require.NoError(t, err)
	require.Empty(t, locs)
}
