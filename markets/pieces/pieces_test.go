package pieces

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
	mh "github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

var builder = cid.V1Builder{Codec: cid.Raw, MhType: mh.SHA2_256}

func makeCAR(t testing.TB, n, size int) ([]byte, map[cid.Cid][]byte) {
	blocks := map[cid.Cid][]byte{}
	root, err := builder.Sum([]byte("root"))
	require.NoError(t, err)
	var buf bytes.Buffer
	w, err := storage.NewWritable(&buf, []cid.Cid{root}, car.WriteAsCarV1(true), car.AllowDuplicatePuts(true))
	require.NoError(t, err)
	for i := range n {
		data := bytes.Repeat(fmt.Appendf(nil, "block %d ", i), size)
		c, err := builder.Sum(data)
		require.NoError(t, err)
		require.NoError(t, w.Put(context.Background(), c.KeyString(), data))
		blocks[c] = data
	}
	require.NoError(t, w.Finalize())
	return buf.Bytes(), blocks
}

func scan(b []byte) (map[cid.Cid][]byte, error) {
	got := map[cid.Cid][]byte{}
	err := ScanCAR(context.Background(), bytes.NewReader(b), uint64(len(b)), func(bl Block) error {
		got[bl.Cid] = b[bl.Offset : bl.Offset+bl.Length]
		return nil
	})
	return got, err
}

func TestScanV1V2AndPadding(t *testing.T) {
	v1, want := makeCAR(t, 100, 50)
	got, err := scan(v1)
	require.NoError(t, err)
	require.Equal(t, want, got)

	got, err = scan(append(v1, make([]byte, 1000)...))
	require.NoError(t, err)
	require.Equal(t, want, got)

	var v2 bytes.Buffer
	require.NoError(t, car.WrapV1(bytes.NewReader(v1), &v2))
	got, err = scan(v2.Bytes())
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestScanRefuses(t *testing.T) {
	v1, _ := makeCAR(t, 3, 50)
	_, err := scan(v1[:len(v1)-5])
	require.ErrorContains(t, err, "unexpected EOF")
	_, err = scan([]byte("just some text, no CAR at all"))
	require.ErrorContains(t, err, "not a CAR")
	_, err = scan(append(bytes.Clone(v1), 0xff, 0xff, 0xff, 0xff, 0x0f))
	require.Error(t, err, "a section above the limit")
	_, err = scan(nil)
	require.Error(t, err)
}

func newStore() *Store { return NewStore(dssync.MutexWrap(datastore.NewMapDatastore())) }

func TestIndexAndFind(t *testing.T) {
	ctx, s := context.Background(), newStore()
	v1, want := makeCAR(t, 5000, 3)
	piece := cid.MustParse("baga6ea4seaqofo6d7zmjr5crnswer5f2m5hdpumdj2co7eaw7teqzqhns4ytyni")
	at := api.PiecePlacement{Size: 1 << 20}
	id := uuid.New()
	for range 2 { // repeating changes nothing
		require.NoError(t, s.AddDeal(ctx, piece, id, uint64(len(v1)), at))
		require.NoError(t, s.Index(ctx, piece, bytes.NewReader(v1), uint64(len(v1))))
	}
	rec, err := s.Get(ctx, piece)
	require.NoError(t, err)
	require.Equal(t, api.PieceRecord{
		PieceCID: piece,
		Size:     1 << 20,
		Payload:  uint64(len(v1)),
		Deals:    []api.UUID{id},
		Sectors:  []api.PiecePlacement{at},
		Blocks:   len(want),
	}, rec)
	checked := 0
	for c, data := range want {
		if checked++; checked > 100 {
			break // a query of the map datastore walks everything
		}
		locs, err := s.Find(ctx, c.Hash())
		require.NoError(t, err)
		require.Len(t, locs, 1)
		require.Equal(t, piece, locs[0].Piece)
		require.Equal(t, data, v1[locs[0].Offset:locs[0].Offset+locs[0].Length])
	}
	other, _ := builder.Sum([]byte("not here"))
	locs, err := s.Find(ctx, other.Hash())
	require.NoError(t, err)
	require.Empty(t, locs)
}

func TestPayloadThatIsNoCAR(t *testing.T) {
	ctx, s := context.Background(), newStore()
	piece := cid.MustParse("baga6ea4seaqofo6d7zmjr5crnswer5f2m5hdpumdj2co7eaw7teqzqhns4ytyni")
	require.NoError(t, s.Index(ctx, piece, bytes.NewReader([]byte("plain text payload")), 18))
	rec, err := s.Get(ctx, piece)
	require.NoError(t, err)
	require.Zero(t, rec.Blocks)
	require.Contains(t, rec.IndexErr, "not a CAR")
	_, err = s.Get(ctx, builderCid(t, "x"))
	var missing *api.ErrNotFound
	require.ErrorAs(t, err, &missing)
}

func builderCid(t *testing.T, s string) cid.Cid {
	c, err := builder.Sum([]byte(s))
	require.NoError(t, err)
	return c
}

func TestListPages(t *testing.T) {
	ctx, s := context.Background(), newStore()
	for i := range 7 {
		require.NoError(t, s.Update(ctx, builderCid(t, fmt.Sprint(i)), func(*api.PieceRecord) {}))
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		recs, next, err := s.List(ctx, cursor, 3)
		require.NoError(t, err)
		for _, r := range recs {
			seen[r.PieceCID.String()] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	require.Len(t, seen, 7)
}

func FuzzScanCAR(f *testing.F) {
	v1, _ := makeCAR(f, 3, 5)
	f.Add(v1)
	var v2 bytes.Buffer
	require.NoError(f, car.WrapV1(bytes.NewReader(v1), &v2))
	f.Add(v2.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = ScanCAR(context.Background(), bytes.NewReader(b), uint64(len(b)), func(bl Block) error {
			if bl.Offset > uint64(len(b)) || bl.Length > uint64(len(b))-bl.Offset {
				t.Fatalf("block at %d, %d bytes, in a payload of %d", bl.Offset, bl.Length, len(b))
			}
			return nil
		})
	})
}
