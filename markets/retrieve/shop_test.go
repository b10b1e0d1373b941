package retrieve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	mh "github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/pieces"
)

const forEver = "public, max-age=29030400, immutable"

// shelf holds pieces in memory, each with a trouble of its own.
type shelf struct {
	mu    sync.Mutex
	data  map[cid.Cid][]byte
	fails map[cid.Cid]error         // opening fails
	hangs map[cid.Cid]chan struct{} // reading hangs until it is closed
	opens map[cid.Cid]int
}

type shelfPayload struct {
	*bytes.Reader
	hang chan struct{}
}

func (p shelfPayload) Close() error { return nil }

func (p shelfPayload) ReadAt(b []byte, off int64) (int, error) {
	if p.hang != nil {
		<-p.hang
	}
	return p.Reader.ReadAt(b, off)
}

func (s *shelf) OpenPiece(_ context.Context, c cid.Cid) (Payload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opens[c]++
	if err := s.fails[c]; err != nil {
		return nil, err
	}
	b, ok := s.data[c]
	if !ok {
		return nil, &api.ErrNotFound{What: "piece"}
	}
	return shelfPayload{bytes.NewReader(b), s.hangs[c]}, nil
}

func (s *shelf) opened(c cid.Cid) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens[c]
}

// shop is a server over a shelf.
type shop struct {
	t     testing.TB
	shelf *shelf
	store *pieces.Store
	srv   *Server
	http  *httptest.Server
}

func newShop(t testing.TB, cfg Config) *shop {
	t.Helper()
	s := &shop{t: t, shelf: &shelf{
		data:  map[cid.Cid][]byte{},
		fails: map[cid.Cid]error{},
		hangs: map[cid.Cid]chan struct{}{},
		opens: map[cid.Cid]int{},
	}}
	s.store = pieces.NewStore(dssync.MutexWrap(datastore.NewMapDatastore()))
	var err error
	s.srv, err = New(cfg, Deps{Find: s.store, Source: s.shelf, Blame: s.store})
	require.NoError(t, err)
	s.http = httptest.NewServer(s.srv.Handler())
	t.Cleanup(func() { s.http.Close(); s.srv.Close() })
	return s
}

// scanned finds blocks by a table, as the store of the tests walks all it has for
// every question.
type scanned map[string][]pieces.Location

func (s scanned) Find(_ context.Context, h mh.Multihash) ([]pieces.Location, error) {
	return s[string(h)], nil
}

// bulk stores a payload of many blocks.
func (s *shop) bulk(name string, payload []byte) {
	s.t.Helper()
	c := pieceNamed(s.t, name)
	s.shelf.data[c] = payload
	table, ok := s.srv.bs.find.(scanned)
	if !ok {
		table = scanned{}
		s.srv.bs.find = table
	}
	require.NoError(s.t, pieces.ScanCAR(s.t.Context(), bytes.NewReader(payload), uint64(len(payload)), func(b pieces.Block) error {
		h := string(b.Cid.Hash())
		table[h] = append(table[h], pieces.Location{Piece: c, Offset: b.Offset, Length: b.Length})
		return nil
	}))
}

// piece stores a payload under a piece CID made of its name.
func (s *shop) piece(name string, payload []byte) cid.Cid {
	s.t.Helper()
	c := pieceNamed(s.t, name)
	s.shelf.mu.Lock()
	s.shelf.data[c] = bytes.Clone(payload)
	s.shelf.mu.Unlock()
	require.NoError(s.t, s.store.Index(context.Background(), c, bytes.NewReader(payload), uint64(len(payload))))
	return c
}

func pieceNamed(t testing.TB, name string) cid.Cid {
	t.Helper()
	h, err := mh.Sum([]byte(name), mh.SHA2_256, -1)
	require.NoError(t, err)
	d, err := mh.Decode(h)
	require.NoError(t, err)
	d.Digest[31] &= 0x3f
	commp, err := mh.Encode(d.Digest, mh.SHA2_256_TRUNC254_PADDED)
	require.NoError(t, err)
	return cid.NewCidV1(cid.FilCommitmentUnsealed, commp)
}

// carOf is a CARv1 of blocks.
func carOf(t testing.TB, blocks ...block) []byte {
	t.Helper()
	var buf bytes.Buffer
	_, err := storage.NewWritable(&buf, []cid.Cid{blocks[0].c}, car.WriteAsCarV1(true))
	require.NoError(t, err)
	for _, b := range blocks {
		buf.Write(varint.ToUvarint(uint64(b.c.ByteLen() + len(b.data))))
		buf.Write(b.c.Bytes())
		buf.Write(b.data)
	}
	return buf.Bytes()
}

type block struct {
	c    cid.Cid
	data []byte
}

func raw(t testing.TB, data string) block {
	return hashed(t, cid.Raw, mh.SHA2_256, []byte(data))
}

func hashed(t testing.TB, codec, hash uint64, data []byte) block {
	t.Helper()
	h, err := mh.Sum(data, hash, -1)
	require.NoError(t, err)
	return block{cid.NewCidV1(codec, h), data}
}

// node is a dag-cbor block {"links": [...]}.
func node(t testing.TB, salt string, links ...cid.Cid) block {
	t.Helper()
	n, err := qp.BuildMap(basicnode.Prototype.Any, 2, func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "links", qp.List(int64(len(links)), func(l datamodel.ListAssembler) {
			for _, c := range links {
				qp.ListEntry(l, qp.Link(cidlink.Link{Cid: c}))
			}
		}))
		qp.MapEntry(m, "salt", qp.String(salt))
	})
	require.NoError(t, err)
	var buf bytes.Buffer
	require.NoError(t, dagcbor.Encode(n, &buf))
	return hashed(t, cid.DagCBOR, mh.SHA2_256, buf.Bytes())
}

// chain is a chain of n dag-cbor blocks, the root first.
func chain(t testing.TB, n int) []block {
	t.Helper()
	out := make([]block, n)
	out[n-1] = node(t, "end")
	for i := n - 2; i >= 0; i-- {
		out[i] = node(t, fmt.Sprint(i), out[i+1].c)
	}
	return out
}

func (s *shop) do(method, path string, headers ...string) (*http.Response, []byte, error) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.http.URL+path, nil)
	require.NoError(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

// sent are the CIDs of a CAR, as far as it goes.
func sent(t testing.TB, b []byte) []cid.Cid {
	t.Helper()
	br, err := car.NewBlockReader(bytes.NewReader(b))
	require.NoError(t, err)
	out := []cid.Cid{}
	for {
		blk, err := br.Next()
		if err != nil {
			return out
		}
		out = append(out, blk.Cid())
	}
}

func cids(blocks []block) []cid.Cid {
	out := []cid.Cid{}
	for _, b := range blocks {
		out = append(out, b.c)
	}
	return out
}
